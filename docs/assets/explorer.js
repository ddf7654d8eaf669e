// The explorers: read the controls, ask for the numbers, and show them.
(() => {
  const GIB = 2 ** 30;
  const one = new Intl.NumberFormat("en-US", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
  const whole = new Intl.NumberFormat("en-US");
  const paper = matchMedia("print");
  const number = (bytes) => one.format(Number(bytes) / GIB);
  const gib = (bytes) => `${number(bytes)}\u00a0GiB`;
  const percent = (share) => `${one.format(100 * share)}\u00a0%`;

  // writing what is there already would still cost a frame
  function say(element, words) {
    if (element && element.textContent !== words) element.textContent = words;
  }

  function exact(data, bytes) {
    if (data.value === String(bytes)) return;
    data.value = bytes;
    data.title = `${whole.format(bytes)} bytes`;
    say(data, gib(bytes));
  }

  // How a step fits a card; what is far too large is counted in cards
  function room(card, bytes) {
    const spare = card.bytes - bytes;
    if (spare >= 0n) return `fits, ${gib(spare)} to spare`;
    if (-spare <= card.bytes) return `too large by ${gib(-spare)}`;
    return `as large as ${whole.format((bytes + card.bytes - 1n) / card.bytes)} cards of ${card.gb}\u00a0GB`;
  }

  function start(root) {
    const find = (selector) => root.querySelector(selector);
    const all = (selector) => [...root.querySelectorAll(selector)];
    const grid = JSON.parse(find("script[type='application/json']").textContent);
    const cards = grid.cards.map((card) => ({ ...card, bytes: BigInt(card.bytes) }));
    const numbers = globalThis.actckptNumbers(grid);
    const controls = globalThis.actckptControls(root, grid);
    const drawing = globalThis.actckptDrawing(root, cards);
    const isList = root.dataset.chart === "policies";
    // looked up once, as a slider asks for them on every step
    const places = {
      total: find(".ac-total data"),
      of: find(".ac-of"),
      card: find(".ac-outcome__card"),
      outcome: find(".ac-outcome__words"),
      chosen: all(".ac-chosen-policy"),
      length: find(".ac-seq_len"),
      slider: find("[name='seq_len']"),
      parts: all(".ac-parts data"),
      rows: all(".ac-parts tr"),
      fits: all(".ac-fit li"),
      overhead: find(".ac-overhead"),
      command: find(".ac-command code"),
      notice: find(".ac-notice"),
      table: find(".ac-data"),
      list: find(".ac-policies"),
      take: find(".ac-take"),
    };
    const policies = new Map(all("label.ac-policy").map((row) => [row.dataset.policy, rowOf(row)]));
    // an accounting without the favoured attention opens with its own, and a list with the cheapest policy that fits
    const [attention] = Object.keys(grid.words.attention);
    const favoured = { attention, ...(isList && { policy: "" }) };
    let wanted = { ...controls.read(), ...favoured };
    let shown;
    let steps;
    let waiting;
    let timer;
    let sliding = false;
    let inSight = true;

    function rowOf(row) {
      const at = (selector) => row.querySelector(selector);
      const [more, peak, remark, holds] = [".ac-more", ".ac-peak", "small", ".ac-holds"].map(at);
      return { row, input: at("input"), more: more.firstChild, peak, remark, holds, bar: drawing.barOf(row) };
    }

    const card = () => cards.find(({ name }) => name === shown.card);
    const answer = () => numbers.cheapest(steps, card()) ?? numbers.smallest(steps);

    // From what is wanted to what is shown: the wanted stays as it is, for when it can be had again
    function settle() {
      shown = numbers.settle(wanted);
      if (!isList) shown.policy ||= "none";
      steps = isList ? numbers.steps(shown) : [numbers.step(shown)];
      shown.policy ||= answer().policy;
    }

    // Why a choice of a control cannot be had
    function lacking(name, value) {
      const owner = name === "accounting" ? shown.model : shown.accounting;
      return grid.reasons[`${owner}|${value}`];
    }

    // Why what was wanted is not shown
    const lost = (name) => (wanted[name] === shown[name] ? undefined : lacking(name, wanted[name]));

    function explain() {
      for (const name of controls.names) {
        const note = find(`[id$="-${name}-note"]`);
        if (!note || !grid.words[name]) continue;
        say(note.querySelector(".ac-words"), grid.words[name][shown[name]]);
        if (!["accounting", "attention", "policy"].includes(name)) continue;
        const missing = controls.values(name).filter((value) => lacking(name, value));
        for (const choice of controls.choices[name]) choice.disabled = missing.includes(choice.value);
        const all = `The ${shown.accounting} accounting has no ${missing.join(", ")}.`;
        const reason = name === "policy" && missing.length > 1 ? all : lacking(name, missing[0]);
        const kept = lost(name) && `${lost(name)} Your choice comes back with one that has it.`;
        say(note.querySelector(".ac-reason"), kept ?? reason ?? "");
      }
    }

    // The answer at once; the rest too, but for a slider, which does not wait for what is out of sight.
    // `moved` is true where nothing but the sequence length has changed
    function show(moved) {
      const step = steps.find(({ policy }) => policy === shown.policy);
      const length = `${whole.format(shown.seq_len)} tokens`;
      say(places.length, length);
      places.slider.setAttribute("aria-valuetext", length);
      exact(places.total, step.bytes);
      if (isList) outcome(step);
      waiting = { step, moved: moved && (waiting?.moved ?? true) };
      clearTimeout(timer);
      if (sliding && !inSight) timer = setTimeout(rest, 200);
      else rest();
    }

    function rest() {
      if (!waiting) return;
      const { step, moved } = waiting;
      waiting = undefined;
      places.parts.forEach((data, i) => exact(data, step.parts[i]));
      places.rows.forEach((row, i) => row.classList.toggle("ac-zero", step.parts[i] === 0n));
      places.fits.forEach((item, i) => {
        item.className = step.bytes <= cards[i].bytes ? "ac-fits" : "ac-exceeds";
        say(item.querySelector("span"), room(cards[i], step.bytes));
      });
      say(places.overhead, percent(step.overhead));
      say(places.command, command());
      if (isList) list();
      else drawing.bar(step);
      if (moved) return;
      explain();
      table();
    }

    // What is said of the chosen policy
    function outcome(step) {
      const fits = numbers.cheapest(steps, card());
      const found = fits === step ? "The cheapest that fits." : `The cheapest that fits is ${fits?.policy}.`;
      const standing = fits ? found : "No policy fits.";
      say(places.card, card().label);
      say(places.of, `of ${gib(card().bytes)}`);
      say(places.outcome, `${room(card(), step.bytes)}; ${percent(step.overhead)} more FLOPs. ${standing}`);
      for (const name of places.chosen) say(name, step.policy);
    }

    function list() {
      const fits = numbers.cheapest(steps, card());
      const miss = numbers.nearestMiss(steps, card());
      for (const { row } of policies.values()) row.hidden = true;
      for (const each of steps) {
        const { row, input, more, peak, remark, holds, bar } = policies.get(each.policy);
        row.hidden = false;
        row.classList.toggle("ac-best", each === fits);
        row.classList.toggle("ac-over", each.bytes > card().bytes);
        drawing.policy(row, bar, each, card());
        input.checked = each.policy === shown.policy;
        say(remark, each === fits ? "cheapest that fits" : each === miss ? room(card(), each.bytes) : "");
        say(peak, gib(each.bytes));
        if (more.data !== percent(each.overhead)) more.data = percent(each.overhead);
        const held = cards.filter(({ bytes }) => each.bytes <= bytes).map(({ short }) => short);
        say(holds, held.join(", ") || "none");
      }
      const rows = steps.map(({ policy }) => policies.get(policy).row);
      const follows = (row, i) => !i || rows[i - 1].compareDocumentPosition(row) & Node.DOCUMENT_POSITION_FOLLOWING;
      // nobody is in the list while its order changes, so that moving a row takes no focus away
      if (!rows.every(follows)) places.list.append(...rows);
      places.take.hidden = answer().policy === shown.policy;
      say(places.take, `Back to ${answer().policy}`);
      drawing.lines(card());
    }

    // Ninety numbers and more: only where somebody looks at them
    function table() {
      if (!places.table.open && !paper.matches) return;
      places.table.querySelectorAll("tbody tr").forEach((row, at) => {
        const step = numbers.step({ ...shown, seq_len: grid.lengths[at] });
        [...step.parts, step.bytes].forEach((bytes, i) => say(row.children[i + 1], number(bytes)));
      });
    }

    function command() {
      const { model, seq_len, policy, accounting, attention, batch_size, ranks, optimizer } = shown;
      const options = [
        ["model", model],
        ["seq-len", seq_len],
        ["policy", policy],
        ["accounting", accounting],
        // what the command takes by itself stays away
        grid.attentions[accounting].length > 1 && attention !== "flash" && ["attention", attention],
        batch_size !== "1" && ["batch-size", batch_size],
        ranks !== "1" && ["data-parallel", ranks],
        optimizer !== "adam-fp32" && ["optimizer", optimizer],
      ];
      return `actckpt estimate ${options.filter(Boolean).map(([name, value]) => `--${name} ${value}`).join(" ")}`;
    }

    const remember = () => controls.remember({ ...shown, policy: isList && !wanted.policy ? "" : shown.policy });

    function choose(changed) {
      const before = shown;
      wanted = { ...wanted, ...changed };
      settle();
      const same = (name) => shown[name] === before[name];
      // a slider is followed at once; what changes the picture otherwise glides there
      const moved = Object.keys(changed).every((name) => name === "seq_len") && same("accounting") && same("policy");
      if (!moved) controls.write(shown);
      root.classList.toggle("ac-glides", !moved);
      say(places.notice, "");
      show(moved);
    }

    // the control that says so has changed, or else whatever differs from what is shown
    function changed({ name }) {
      const state = controls.read();
      if (controls.names.includes(name)) return { [name]: state[name] };
      const differs = controls.names.filter((each) => state[each] !== shown[each]);
      return Object.fromEntries(differs.map((each) => [each, state[each]]));
    }

    root.addEventListener("input", (event) => {
      sliding = event.target === places.slider;
      choose(changed(event.target));
    });
    // once a slider is let go, as browsers refuse an address that changes too often
    root.addEventListener("change", () => {
      sliding = false;
      rest();
      remember();
    });
    new IntersectionObserver(([entry]) => {
      inSight = entry.isIntersecting;
      if (inSight) rest();
    }).observe(find(".ac-result"));
    controls.form.addEventListener("submit", (event) => event.preventDefault());
    // a press on the policy that is shown changes nothing, and still is a choice
    places.list?.addEventListener("click", ({ target }) => {
      if (target.name === "policy") choose({ policy: target.value });
    });
    places.take?.addEventListener("click", () => {
      choose({ policy: "" });
      remember();
    });
    places.table.addEventListener("toggle", table);
    paper.addEventListener("change", table);
    globalThis.actckptCopy(find(".ac-command"), find(".ac-copied"));

    const { state, wrong } = controls.asked();
    wanted = { ...wanted, ...state };
    settle();
    const reasons = Object.keys(state).map(lost).filter(Boolean);
    say(places.notice, [...controls.explained(wrong, shown), ...reasons].join(" "));
    controls.write(shown);
    show(false);
    root.dataset.ready = "true";
  }

  for (const root of document.querySelectorAll(".ac-explorer")) start(root);
})();
