// The explorers: look numbers up in the grid that the package computed, and show them. No formula lives here.
(() => {
  const GIB = 2 ** 30;
  const STATES = ["parameters", "gradients", "optimizer"];
  const COUNTED = ["attention", "ffn", "norm", "checkpoint", "logits", "working"];
  const PARTS = [...STATES, ...COUNTED];
  const CONTROLS = ["model", "accounting", "attention", "policy", "seq_len", "ranks"];
  const paper = matchMedia("print");
  const one = new Intl.NumberFormat("en-US", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
  const whole = new Intl.NumberFormat("en-US");
  const number = (bytes) => one.format(bytes / GIB);
  const gib = (bytes) => `${number(bytes)}\u00a0GiB`;
  const sum = (counts) => counts.reduce((a, b) => a + b, 0);

  function start(root) {
    const grid = JSON.parse(root.querySelector("script[type='application/json']").textContent);
    const form = root.querySelector("form");
    const find = (selector) => root.querySelector(selector);
    const all = (selector) => [...root.querySelectorAll(selector)];
    // looked up once, as a slider asks for them on every step
    const places = {
      data: all("data[data-part]"),
      rows: all("tr[data-part]"),
      fits: all(".ac-fit li").map((item) => ({ item, bytes: Number(item.dataset.bytes), words: item.querySelector("span") })),
      segments: all(".ac-stack .ac-segment"),
      lines: all(".ac-bar .ac-capacity").map((line) => ({ line, bytes: Number(line.dataset.bytes) })),
      columns: all(".ac-column"),
      length: find(".ac-seq_len"),
      overhead: find(".ac-overhead"),
      command: find(".ac-command code"),
      oneRank: find(".ac-one-rank"),
      table: find(".ac-data"),
    };
    const opens = read();
    let state = opens;
    let favoured = Object.keys(grid.words.attention)[0];
    let stackWidth = 0;

    function read() {
      const values = Object.fromEntries(new FormData(form));
      values.seq_len = grid.lengths[values.seq_len];
      return values;
    }

    function write() {
      for (const name of CONTROLS) {
        const value = name === "seq_len" ? grid.lengths.indexOf(Number(state.seq_len)) : state[name];
        form.elements[name].value = value;
      }
    }

    const index = () => grid.lengths.indexOf(Number(state.seq_len));
    const count = (row, at) => grid.rows[row][0] * grid.rows[row][at + 1];

    // A cell for each kind of attention, where an accounting has more than one
    function cell({ model, accounting, attention, policy }) {
      const name = `${model}|${accounting}|${policy}`;
      return (attention !== grid.attentions[accounting]?.[0] && grid.others[name]) || grid.cells[name];
    }

    // The bytes of each part, in the order of PARTS
    function parts(shown, at) {
      const rows = cell(shown);
      return [...grid.ranks[`${shown.model}|${shown.ranks}`], ...COUNTED.map((_, i) => count(rows[i], at))];
    }

    // What the page's address asks for, where it is something that can be shown
    function shared() {
      const query = new URLSearchParams(location.search);
      const wanted = { ...opens };
      for (const name of CONTROLS) if (query.has(name)) wanted[name] = query.get(name);
      const known = grid.lengths.includes(Number(wanted.seq_len)) && `${wanted.model}|${wanted.ranks}` in grid.ranks;
      if (!known || !cell(wanted)) return opens;
      if (query.has("attention") && has(wanted.accounting, wanted.attention)) favoured = wanted.attention;
      return withAttention(wanted);
    }

    const has = (accounting, attention) => grid.attentions[accounting].includes(attention);

    function withAttention(wanted) {
      const attention = has(wanted.accounting, favoured) ? favoured : grid.attentions[wanted.accounting][0];
      // where the page offers one kind, its field is hidden and says nothing
      return { ...wanted, attention: attention in grid.words.attention ? attention : favoured };
    }

    // Where the new choice has no number: the nearest one that has
    function settle(wanted) {
      const accountings = Object.keys(grid.words.accounting).map((accounting) => ({ ...wanted, accounting }));
      const plain = (near) => ({ ...near, policy: "none" });
      return withAttention([wanted, plain(wanted), ...accountings, ...accountings.map(plain)].find(cell));
    }

    // Which choices there are, and why others are not
    function explain() {
      const owners = { accounting: state.model, attention: state.accounting, policy: state.accounting };
      for (const [name, owner] of Object.entries(owners)) {
        const note = find(`[id$="-${name}-note"]`);
        if (!note) continue;
        const values = Object.keys(grid.words[name]);
        const reasons = values.map((value) => grid.reasons[`${owner}|${value}`]);
        const inputs = [...form.querySelectorAll(`[name="${name}"] option, input[name="${name}"]`)];
        values.forEach((value, i) => (inputs.find((input) => input.value === value).disabled = Boolean(reasons[i])));
        note.querySelector(".ac-words").textContent = grid.words[name][state[name]];
        note.querySelector(".ac-reason").textContent = reasons.find(Boolean) ?? "";
      }
    }

    // `moved` is true where nothing but the sequence length has changed
    function show(moved) {
      const at = index();
      const counts = parts(state, at);
      const total = sum(counts);
      const bytes = Object.fromEntries(PARTS.map((part, i) => [part, counts[i]]));
      for (const data of places.data) {
        const value = data.dataset.part === "total" ? total : bytes[data.dataset.part];
        if (data.value === String(value)) continue;
        data.value = value;
        data.title = `${whole.format(value)} bytes`;
        data.textContent = gib(value);
      }
      for (const row of places.rows) row.classList.toggle("ac-zero", bytes[row.dataset.part] === 0);
      for (const { item, bytes: capacity, words } of places.fits) {
        const spare = capacity - total;
        item.className = spare >= 0 ? "ac-fits" : "ac-exceeds";
        words.textContent = spare >= 0 ? `fits, ${gib(spare)} to spare` : `too large by ${gib(-spare)}`;
      }
      const length = `${whole.format(state.seq_len)} tokens`;
      places.length.textContent = length;
      form.elements.seq_len.setAttribute("aria-valuetext", length);
      if (places.overhead) {
        const overhead = grid.rows[cell(state)[COUNTED.length]][at + 1];
        places.overhead.textContent = `${one.format(100 * overhead)}\u00a0%`;
      }
      places.command.textContent = command();
      if (places.columns.length) columns(at, moved);
      else bar(counts, total);
      if (moved) return;
      explain();
      places.oneRank.hidden = state.ranks === "1";
      table();
    }

    function bar(counts, total) {
      const full = 1.04 * Math.max(total, ...places.lines.map(({ bytes }) => bytes));
      for (const { line, bytes } of places.lines) {
        line.style.left = `${(100 * bytes) / full}%`;
        line.classList.toggle("ac-far", bytes > 0.7 * full);
      }
      places.segments.forEach((segment, i) => {
        const share = counts[i] / full;
        segment.style.width = `${100 * share}%`;
        segment.classList.toggle("ac-narrow", share * stackWidth < 16 + 7 * segment.textContent.length);
      });
    }

    // One scale for all policies of a model, so that switching between them shows what they save
    function columns(chosen, moved) {
      places.columns.forEach((column, at) => column.classList.toggle("ac-chosen", at === chosen));
      if (moved) return;
      const last = grid.lengths.length - 1;
      const full = 1.04 * sum(parts({ ...state, policy: "none" }, last));
      const round = roundBelow(full);
      const gridline = find(".ac-gridline");
      gridline.style.bottom = `${(100 * round) / full}%`;
      gridline.querySelector("b").textContent = `${whole.format(round / GIB)}\u00a0GiB`;
      places.columns.forEach((column, at) => {
        const counts = parts(state, at);
        for (const segment of column.children) {
          const part = PARTS.indexOf(segment.dataset.part);
          if (part >= 0) segment.style.height = `${(100 * counts[part]) / full}%`;
        }
      });
      const line = find(".ac-plot .ac-capacity");
      const card = places.fits.findLast(({ bytes }) => bytes <= full);
      line.hidden = !card;
      if (!card) return;
      line.style.bottom = `${(100 * card.bytes) / full}%`;
      line.querySelector("b").textContent = card.item.querySelector("b").textContent;
    }

    function roundBelow(bytes) {
      const power = 10 ** Math.floor(Math.log10(bytes / GIB));
      return Math.max(...[1, 2, 5].map((step) => step * power * GIB).filter((round) => round <= bytes));
    }

    // Ninety numbers and more: only where somebody looks at them
    function table() {
      if (!places.table.open && !paper.matches) return;
      places.table.querySelectorAll("tbody tr").forEach((row, at) => {
        const counts = parts(state, at);
        [...counts, sum(counts)].forEach((bytes, i) => (row.children[i + 1].textContent = number(bytes)));
      });
    }

    function command() {
      const attention = grid.attentions[state.accounting].length > 1 && state.attention === "eager" ? " --attention eager" : "";
      return `actckpt estimate --model ${state.model} --seq-len ${state.seq_len} --policy ${state.policy} --accounting ${state.accounting}${attention}`;
    }

    function remember() {
      const query = new URLSearchParams(location.search);
      for (const name of CONTROLS) query.set(name, state[name]);
      history.replaceState(history.state, "", `?${query}${location.hash}`);
    }

    function choose(wanted, by) {
      if (by === "attention") favoured = wanted.attention;
      const before = state;
      state = settle(wanted);
      // a slider is followed at once; what changes the picture otherwise glides there
      const moved = CONTROLS.every((name) => name === "seq_len" || state[name] === before[name]);
      if (!moved) write();
      root.classList.toggle("ac-glides", !moved);
      show(moved);
    }

    form.addEventListener("input", (event) => choose(read(), event.target.name));
    // once a slider is let go, as browsers refuse an address that changes too often
    form.addEventListener("change", remember);
    form.addEventListener("submit", (event) => event.preventDefault());
    find(".ac-plot")?.addEventListener("click", (event) => {
      const column = event.target.closest(".ac-column");
      if (!column) return;
      form.elements.seq_len.value = column.dataset.index;
      choose(read(), "seq_len");
      remember();
    });
    places.table.addEventListener("toggle", table);
    paper.addEventListener("change", table);
    const button = find(".ac-copy");
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(places.command.textContent);
      button.textContent = "Copied";
      setTimeout(() => (button.textContent = "Copy as command"), 1500);
    });

    const stack = find(".ac-stack");
    if (stack) {
      // reading a width while a slider moves would make the browser lay the page out twice
      new ResizeObserver(([entry]) => {
        stackWidth = entry.contentRect.width;
        const counts = parts(state, index());
        bar(counts, sum(counts));
      }).observe(stack);
    }
    state = shared();
    write();
    show(false);
    root.dataset.ready = "true";
  }

  for (const root of document.querySelectorAll(".ac-explorer")) start(root);
})();
