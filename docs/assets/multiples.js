// Strategies side by side: adds up the package's numbers for what is chosen, and shows them. No formula lives here.
(() => {
  const GIB = 2 ** 30;
  const one = new Intl.NumberFormat("en-US", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
  const whole = new Intl.NumberFormat("en-US");
  const number = (bytes) => one.format(bytes / GIB);
  const gib = (bytes) => `${number(bytes)}\u00a0GiB`;
  const sum = (counts) => counts.reduce((a, b) => a + b, 0);

  function start(root) {
    const grid = JSON.parse(root.querySelector("script").textContent);
    const form = root.querySelector("form");
    const range = form.elements.seq_len;
    const status = root.querySelector("[role='status']");
    const plotHeight = root.querySelector(".ac-panel__plot").height.baseVal.value;
    const thin = root.querySelector(".ac-panel__chosen").width.baseVal.value;
    const named = 15;
    const details = root.querySelector("details");
    const [parts, lengths] = [...details.querySelectorAll("tbody")];
    const sums = details.querySelector("tfoot tr");
    const panels = [...root.querySelectorAll(".ac-panel")].map((panel) => ({
      panel,
      policy: panel.dataset.policy,
      columns: [...panel.querySelectorAll(".ac-panel__columns > path")],
      chosen: panel.querySelector(".ac-panel__chosen"),
      bar: [...panel.querySelectorAll("rect.ac-part")],
      names: [...panel.querySelectorAll("text.ac-part")],
      levels: [...panel.querySelectorAll(".ac-rung")],
      cards: [...panel.querySelectorAll(".ac-card-line")],
      cut: panel.querySelector(".ac-panel__cut"),
      place: panel.querySelector(".ac-panel__axis output"),
      data: (part) => panel.querySelector(`data[data-part="${part}"]`),
    }));
    const CHOICES = ["model", "counted", "ranks", "scale"];
    // a length that is pointed at, shown in the place of the chosen one
    let pointed = null;
    let columns;

    const state = () => Object.fromEntries(CHOICES.map((name) => [name, form.elements[name].value]));
    const chosen = () => pointed ?? Number(range.value);

    function counts({ model, counted, ranks }, policy) {
      const rows = grid.cells[`${model}|${counted}|${policy}`].map((row) => grid.rows[row]);
      const states = grid.states[`${model}|${ranks}`];
      return grid.lengths.map((_, at) => [...states, ...rows.map((row) => row[0] * row[at + 1])]);
    }

    const scale = (now) => grid.scales[CHOICES.map((name) => now[name]).join("|")];
    const set = (element, values) => Object.entries(values).forEach(([name, value]) => element.setAttribute(name, value));
    const display = (element, shown) => set(element, { display: shown ? "inline" : "none" });

    function draw() {
      const now = state();
      const [full, gridline] = scale(now);
      // what stands above the top is cut off
      const y = (bytes) => plotHeight * (1 - Math.min(bytes, full) / full);
      columns = panels.map(({ policy }) => counts(now, policy));
      panels.forEach((each, index) => {
        const below = grid.lengths.map(() => 0);
        each.columns.forEach((path, part) => {
          const pieces = columns[index].map((column, at) => {
            const start = y(below[at]);
            below[at] += column[part];
            return column[part] ? `M${at} ${start}V${y(below[at])}h${thin}V${start}z` : "";
          });
          set(path, { d: pieces.join("") });
        });
        each.levels.forEach((level, step) => {
          const bytes = step * gridline;
          place(level, y(bytes), bytes <= full);
          level.lastElementChild.textContent = whole.format(bytes / GIB);
        });
        let above = -plotHeight;
        for (const card of each.cards) {
          const bytes = Number(card.dataset.bytes);
          const shown = bytes <= full && y(bytes) - above >= named;
          if (shown) above = y(bytes);
          place(card, y(bytes), shown);
        }
        display(each.cut, Math.max(...below) > full);
      });
      show();
      if (!details.open) return;
      grid.lengths.forEach((_, at) => fill(lengths.rows[at], columns.map((column) => sum(column[at]))));
    }

    // a line and its words, up or down
    function place(group, at, shown) {
      display(group, shown);
      set(group.firstElementChild, { y1: at, y2: at });
      set(group.lastElementChild, { y: at + 4 });
    }

    function show() {
      const at = chosen();
      const now = state();
      const [full] = scale(now);
      const y = (bytes) => plotHeight * (1 - Math.min(bytes, full) / full);
      const length = `${whole.format(grid.lengths[at])} tokens`;
      range.setAttribute("aria-valuetext", length);
      form.querySelector("output").textContent = length;
      const none = sum(columns[0][at]);
      panels.forEach((each, index) => {
        const column = columns[index][at];
        const total = sum(column);
        set(each.chosen, { x: at, y: y(total), height: plotHeight - y(total) });
        let below = 0;
        each.bar.forEach((rect, part) => {
          const bottom = y(below);
          below += column[part];
          const height = bottom - y(below);
          set(rect, { y: y(below), height });
          set(each.names[part], { y: bottom - height / 2 + 4 });
          display(each.names[part], height >= named);
        });
        each.place.textContent = `${grid.lengths[at] / 1024}K`;
        write(each.data("total"), total);
        if (!index) return;
        write(each.data("saved"), none - total);
        const more = grid.overheads[`${now.model}|${now.counted}|${each.policy}`][at];
        each.data("more").textContent = `${one.format(100 * more)}\u00a0%`;
      });
      if (!details.open) return;
      [...parts.rows].forEach((row, part) => fill(row, columns.map((column) => column[at][part])));
      fill(sums, columns.map((column) => sum(column[at])));
    }

    function write(data, bytes) {
      data.value = bytes;
      data.title = `${whole.format(bytes)} bytes`;
      data.textContent = gib(bytes);
    }

    function fill(row, values) {
      values.forEach((bytes, index) => (row.children[index + 1].textContent = number(bytes)));
    }

    // A screen reader is told what was chosen, and not what a pointer passes
    function tell() {
      const totals = panels.map(({ policy }, index) => `${policy} ${gib(sum(columns[index][chosen()]))}`);
      status.textContent = `${whole.format(grid.lengths[chosen()])} tokens: ${totals.join(", ")}`;
      const query = new URLSearchParams(location.search);
      for (const [name, value] of Object.entries(state())) query.set(name, value);
      query.set("seq_len", grid.lengths[range.value]);
      history.replaceState(history.state, "", `?${query}${location.hash}`);
    }

    // what a shared address says and the page has; the rest stays as it is
    function restore() {
      const query = new URLSearchParams(location.search);
      for (const name of CHOICES) {
        const input = [...form.elements[name]].find(({ value }) => value === query.get(name));
        if (input) input.checked = true;
      }
      const at = grid.lengths.indexOf(Number(query.get("seq_len")));
      if (at >= 0) range.value = at;
    }

    function under(event) {
      const box = event.currentTarget.getBoundingClientRect();
      const at = Math.floor((grid.lengths.length * (event.clientX - box.left)) / box.width);
      return Math.min(Math.max(at, 0), grid.lengths.length - 1);
    }

    for (const { panel } of panels) {
      const hit = panel.querySelector(".ac-panel__hit");
      hit.addEventListener("pointermove", (event) => {
        pointed = under(event);
        show();
      });
      hit.addEventListener("pointerleave", () => {
        pointed = null;
        show();
      });
      hit.addEventListener("click", (event) => {
        pointed = null;
        range.value = under(event);
        // the arrow keys go on from here
        range.focus({ preventScroll: true });
        show();
        tell();
      });
    }
    form.addEventListener("input", (event) => (event.target === range ? show() : draw()));
    form.addEventListener("change", tell);
    form.addEventListener("submit", (event) => event.preventDefault());
    details.addEventListener("toggle", draw);
    restore();
    draw();
    root.dataset.ready = "true";
  }

  for (const root of document.querySelectorAll(".ac-multiples")) start(root);
})();
