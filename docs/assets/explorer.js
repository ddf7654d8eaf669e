// The explorers: look numbers up in the grid that the package computed, and show them. No formula lives here.
(() => {
  const GIB = 2 ** 30;
  const STATES = ["parameters", "gradients", "optimizer"];
  const COUNTED = ["attention", "ffn", "norm", "checkpoint", "logits", "working"];
  const PARTS = [...STATES, ...COUNTED];
  const CONTROLS = ["model", "accounting", "policy", "seq_len", "ranks"];
  const one = { minimumFractionDigits: 1, maximumFractionDigits: 1 };
  const number = (bytes) => (bytes / GIB).toLocaleString("en-US", one);
  const gib = (bytes) => `${number(bytes)} GiB`;

  function start(root) {
    const grid = JSON.parse(root.querySelector("script[type='application/json']").textContent);
    const form = root.querySelector("form");
    const opens = read();
    const count = (row, index) => grid.rows[row][0] * grid.rows[row][index + 1];

    function read() {
      const state = Object.fromEntries(new FormData(form));
      state.seq_len = grid.lengths[state.seq_len];
      return state;
    }

    function write(state) {
      for (const name of CONTROLS) {
        const value = name === "seq_len" ? grid.lengths.indexOf(Number(state.seq_len)) : state[name];
        form.elements[name].value = value;
      }
    }

    // What the page's address asks for, where it is something that can be shown
    function shared() {
      const query = new URLSearchParams(location.search);
      const wanted = { ...opens };
      for (const name of CONTROLS) if (query.has(name)) wanted[name] = query.get(name);
      const known = grid.lengths.includes(Number(wanted.seq_len)) && `${wanted.model}|${wanted.ranks}` in grid.ranks;
      return known && cell(wanted) ? wanted : opens;
    }

    function cell({ model, accounting, policy }) {
      return grid.cells[`${model}|${accounting}|${policy}`];
    }

    function parts(state, index) {
      const counts = [...grid.ranks[`${state.model}|${state.ranks}`], ...COUNTED.map((_, i) => count(cell(state)[i], index))];
      return Object.fromEntries(PARTS.map((part, i) => [part, counts[i]]));
    }

    const sum = (numbers) => Object.values(numbers).reduce((a, b) => a + b, 0);

    // Where the new choice has no number: the nearest one that has
    function settle(state) {
      const accountings = Object.keys(grid.words.accounting).map((accounting) => ({ ...state, accounting }));
      const plain = (near) => ({ ...near, policy: "none" });
      return [state, plain(state), ...accountings, ...accountings.map(plain)].find(cell);
    }

    function offer(name, value, reason) {
      const input = [...form.querySelectorAll(`[name="${name}"] option, input[name="${name}"]`)].find((i) => i.value === value);
      input.disabled = Boolean(reason);
    }

    function explain(state) {
      for (const name of ["accounting", "policy"]) {
        const owner = name === "accounting" ? state.model : state.accounting;
        const values = Object.keys(grid.words[name]);
        const reasons = values.map((value) => grid.reasons[`${owner}|${value}`]);
        values.forEach((value, i) => offer(name, value, reasons[i]));
        const note = root.querySelector(`[id$="-${name}-note"]`);
        note.querySelector(".ac-words").textContent = grid.words[name][state[name]];
        note.querySelector(".ac-reason").textContent = reasons.find(Boolean) ?? "";
      }
    }

    function show(state) {
      const index = grid.lengths.indexOf(Number(state.seq_len));
      const bytes = parts(state, index);
      const total = sum(bytes);
      explain(state);
      for (const data of root.querySelectorAll("data[data-part]")) {
        const value = data.dataset.part === "total" ? total : bytes[data.dataset.part];
        data.value = value;
        data.title = `${value.toLocaleString("en-US")} bytes`;
        data.textContent = gib(value);
      }
      for (const row of root.querySelectorAll("tr[data-part]")) row.classList.toggle("ac-zero", bytes[row.dataset.part] === 0);
      for (const item of root.querySelectorAll(".ac-fit li")) {
        const spare = item.dataset.bytes - total;
        item.className = spare >= 0 ? "ac-fits" : "ac-exceeds";
        item.querySelector("span").textContent = spare >= 0 ? `fits, ${gib(spare)} to spare` : `too large by ${gib(-spare)}`;
      }
      const length = `${Number(state.seq_len).toLocaleString("en-US")} tokens`;
      root.querySelector(".ac-seq_len").textContent = length;
      form.elements.seq_len.setAttribute("aria-valuetext", length);
      const overhead = grid.rows[cell(state)[COUNTED.length]][index + 1];
      root.querySelector(".ac-overhead").textContent = `${(100 * overhead).toLocaleString("en-US", one)}\u00a0%`;
      root.querySelector(".ac-command code").textContent = command(state);
      root.querySelector(".ac-one-rank").hidden = state.ranks === "1";
      if (root.dataset.chart === "bar") bar(bytes, total);
      else columns(state, index);
      table(state);
    }

    function bar(bytes, total) {
      const lines = [...root.querySelectorAll(".ac-bar .ac-capacity")];
      const width = root.querySelector(".ac-stack").clientWidth;
      const full = 1.04 * Math.max(total, ...lines.map((line) => line.dataset.bytes));
      for (const line of lines) {
        line.style.left = `${(100 * line.dataset.bytes) / full}%`;
        line.classList.toggle("ac-far", line.dataset.bytes > 0.7 * full);
      }
      for (const segment of root.querySelectorAll(".ac-stack .ac-segment")) {
        const share = bytes[segment.dataset.part] / full;
        segment.style.width = `${100 * share}%`;
        segment.classList.toggle("ac-narrow", share * width < 16 + 7 * segment.textContent.length);
      }
    }

    // One scale for all policies of a model, so that switching between them shows what they save
    function columns(state, chosen) {
      const last = grid.lengths.length - 1;
      const full = 1.04 * sum(parts({ ...state, policy: "none" }, last));
      const round = roundBelow(full);
      const gridline = root.querySelector(".ac-gridline");
      gridline.style.bottom = `${(100 * round) / full}%`;
      gridline.querySelector("b").textContent = `${(round / GIB).toLocaleString("en-US")} GiB`;
      for (const column of root.querySelectorAll(".ac-column")) {
        const index = Number(column.dataset.index);
        const bytes = parts(state, index);
        column.classList.toggle("ac-chosen", index === chosen);
        for (const segment of column.children) {
          if (segment.dataset.part) segment.style.height = `${(100 * bytes[segment.dataset.part]) / full}%`;
        }
      }
      const line = root.querySelector(".ac-plot .ac-capacity");
      const card = [...root.querySelectorAll(".ac-fit li")].findLast((item) => item.dataset.bytes <= full);
      line.hidden = !card;
      if (!card) return;
      line.style.bottom = `${(100 * card.dataset.bytes) / full}%`;
      line.querySelector("b").textContent = card.querySelector("b").textContent;
    }

    function roundBelow(bytes) {
      const power = 10 ** Math.floor(Math.log10(bytes / GIB));
      return Math.max(...[1, 2, 5].map((step) => step * power * GIB).filter((round) => round <= bytes));
    }

    function table(state) {
      root.querySelectorAll(".ac-data tbody tr").forEach((row, index) => {
        const bytes = parts(state, index);
        const counts = [...PARTS.map((part) => bytes[part]), sum(bytes)];
        row.querySelectorAll("td").forEach((cell, i) => (cell.textContent = number(counts[i])));
      });
    }

    function command(state) {
      return `actckpt estimate --model ${state.model} --seq-len ${state.seq_len} --policy ${state.policy} --accounting ${state.accounting}`;
    }

    function remember(state) {
      const query = new URLSearchParams(location.search);
      for (const name of CONTROLS) query.set(name, state[name]);
      history.replaceState(history.state, "", `?${query}${location.hash}`);
    }

    form.addEventListener("input", () => {
      const state = settle(read());
      write(state);
      show(state);
      remember(state);
    });
    form.addEventListener("submit", (event) => event.preventDefault());
    root.querySelector(".ac-plot")?.addEventListener("click", (event) => {
      const column = event.target.closest(".ac-column");
      if (!column) return;
      form.elements.seq_len.value = column.dataset.index;
      form.dispatchEvent(new Event("input"));
    });
    const button = root.querySelector(".ac-copy");
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(root.querySelector(".ac-command code").textContent);
      button.textContent = "Copied";
      setTimeout(() => (button.textContent = "Copy as command"), 1500);
    });
    const first = shared();
    write(first);
    show(first);
    root.dataset.ready = "true";
  }

  for (const root of document.querySelectorAll(".ac-explorer")) start(root);
})();
