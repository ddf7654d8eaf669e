// The controls of an explorer, and the address that restores them. What they mean is not known here.
globalThis.actckptControls = (root, grid) => {
  const NAMES = ["model", "seq_len", "card", "batch_size", "ranks", "optimizer", "attention", "accounting", "policy"];
  const NUMBERS = ["seq_len", "batch_size", "ranks"];
  const whole = new Intl.NumberFormat("en-US");
  const form = root.querySelector("form");
  const found = NAMES.map((name) => [name, [...root.querySelectorAll(`[name="${name}"]`)]]);
  const inputs = Object.fromEntries(found.filter(([, each]) => each.length));
  const names = Object.keys(inputs);
  const visible = names.filter((name) => inputs[name][0].type !== "hidden");
  // the options of a list that opens, or the buttons; a slider counts them
  const choices = Object.fromEntries(names.map((name) => [name, [...(inputs[name][0].options ?? inputs[name])]]));
  const lengths = grid.lengths.map(String);
  const values = (name) => (name === "seq_len" ? lengths : choices[name].map(({ value }) => value));

  function read() {
    const state = Object.fromEntries(new FormData(form));
    return { ...state, seq_len: lengths[state.seq_len] };
  }

  function write(state) {
    for (const name of names) {
      form.elements[name].value = name === "seq_len" ? lengths.indexOf(state.seq_len) : state[name];
    }
  }

  // On a scale where doubling is a step
  const nearest = (value, all) =>
    all.reduce((a, b) => (Math.abs(Math.log(b / value)) < Math.abs(Math.log(a / value)) ? b : a));

  // What the address asks for, and what of it is no choice
  function asked() {
    const query = new URLSearchParams(location.search);
    const state = {};
    const wrong = {};
    for (const name of names.filter((name) => query.has(name))) {
      const value = query.get(name);
      const isWhole = NUMBERS.includes(name) && /^[1-9][0-9]{0,15}$/.test(value);
      if (values(name).includes(value)) state[name] = value;
      else {
        if (isWhole) state[name] = nearest(value, values(name));
        const words = JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value);
        const why = isWhole || !NUMBERS.includes(name) ? "is not a choice here" : "is not a whole number in digits";
        wrong[name] = `${name} ${words} ${why}`;
      }
    }
    return { state, wrong };
  }

  // A sentence for each of them, with what is shown in its place
  const explained = (wrong, shown) =>
    Object.entries(wrong).map(([name, why]) => {
      const instead = NUMBERS.includes(name) ? whole.format(shown[name]) : shown[name];
      return `${why}: ${instead} is shown.`;
    });

  function remember(state) {
    const query = new URLSearchParams(location.search);
    for (const name of visible) {
      if (state[name]) query.set(name, state[name]);
      else query.delete(name);
    }
    history.replaceState(history.state, "", `?${query}${location.hash}`);
  }

  return { form, names, choices, values, read, write, asked, explained, remember };
};
