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
    const plotHeight = parseFloat(root.style.getPropertyValue("--plot"));
    const details = root.querySelector("details");
    const [parts, lengths] = [...details.querySelectorAll("tbody")];
    const sums = details.querySelector("tfoot tr");
    const panels = [...root.querySelectorAll(".ac-panel")].map((panel) => ({
      panel,
      policy: panel.dataset.policy,
      columns: [...panel.querySelectorAll(".ac-panel__columns > i")],
      bar: [...panel.querySelectorAll(".ac-panel__bar > span")],
      levels: [...panel.querySelectorAll(".ac-level")],
      cards: [...panel.querySelectorAll(".ac-card-line")],
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

    // what stands above the top of a panel is cut off, and looks it
    function gradient(column, shown) {
      let below = 0;
      const stops = column.flatMap((bytes, part) => {
        if (!bytes) return [];
        const from = below;
        below += bytes;
        return `var(--${grid.parts[part]}) ${(100 * from) / shown}% ${(100 * below) / shown}%`;
      });
      return `linear-gradient(to top,${stops})`;
    }

    function draw() {
      const now = state();
      const [full, gridline] = grid.scales[CHOICES.map((name) => now[name]).join("|")];
      columns = panels.map(({ policy }) => counts(now, policy));
      panels.forEach((each, index) => {
        each.columns.forEach((column, at) => {
          const total = sum(columns[index][at]);
          const shown = Math.min(total, full);
          column.style.height = `${(100 * shown) / full}%`;
          column.style.backgroundImage = gradient(columns[index][at], shown);
          column.classList.toggle("ac-cut", total > full);
        });
        each.levels.forEach((level, step) => {
          level.hidden = step * gridline > full;
          level.style.bottom = `${(100 * step * gridline) / full}%`;
          level.firstElementChild.value = step * gridline;
          level.firstElementChild.textContent = whole.format((step * gridline) / GIB);
        });
        let above = 2;
        for (const card of each.cards) {
          const share = card.dataset.bytes / full;
          card.hidden = share > 1 || (above - share) * plotHeight < 15;
          if (!card.hidden) above = share;
          card.style.bottom = `${100 * share}%`;
        }
      });
      show();
      if (!details.open) return;
      grid.lengths.forEach((_, at) => fill(lengths.rows[at], columns.map((column) => sum(column[at]))));
    }

    function show() {
      const at = chosen();
      const now = state();
      const full = grid.scales[CHOICES.map((name) => now[name]).join("|")][0];
      const length = `${whole.format(grid.lengths[at])} tokens`;
      range.setAttribute("aria-valuetext", length);
      form.querySelector("output").textContent = length;
      const none = sum(columns[0][at]);
      panels.forEach((each, index) => {
        const column = columns[index][at];
        const total = sum(column);
        each.columns.forEach((one, place) => one.classList.toggle("ac-chosen", place === at));
        // what is below counts first, and the rest ends at the top
        let room = full;
        each.bar.forEach((segment, part) => {
          const shown = Math.min(column[part], room);
          room -= shown;
          segment.style.height = `${(100 * shown) / full}%`;
          segment.classList.toggle("ac-narrow", (plotHeight * shown) / full < 15);
        });
        each.bar[0].parentElement.classList.toggle("ac-cut", total > full);
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

    function write(place, bytes) {
      place.value = bytes;
      place.title = `${whole.format(bytes)} bytes`;
      place.textContent = gib(bytes);
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
      const place = Math.floor((grid.lengths.length * (event.clientX - box.left)) / box.width);
      return Math.min(Math.max(place, 0), grid.lengths.length - 1);
    }

    for (const { panel } of panels) {
      const place = panel.querySelector(".ac-panel__columns");
      place.addEventListener("pointermove", (event) => {
        pointed = under(event);
        show();
      });
      place.addEventListener("pointerleave", () => {
        pointed = null;
        show();
      });
      place.addEventListener("click", (event) => {
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
    form.hidden = false;
    root.dataset.ready = "true";
  }

  for (const root of document.querySelectorAll(".ac-multiples")) start(root);
})();
