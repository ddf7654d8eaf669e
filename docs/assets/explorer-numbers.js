// What an explorer says, from the sums that the page carries: whole bytes of any size. Nothing is drawn here.
globalThis.actckptNumbers = (grid) => {
  const policies = Object.keys(grid.words.policy);
  const total = (counts) => counts.reduce((a, b) => a + b, 0n);
  let sizes = "";
  let powers = [];
  let sums = new Map();

  // each sum once for a length and a batch size
  function at(seqLen, batchSize) {
    if (sizes === `${seqLen}|${batchSize}`) return;
    sizes = `${seqLen}|${batchSize}`;
    powers = grid.powers.map(([s, b]) => BigInt(seqLen) ** BigInt(s) * BigInt(batchSize) ** BigInt(b));
    sums = new Map();
  }

  function sum(index) {
    if (!sums.has(index)) {
      const products = grid.sums[index].map((times, i) => (times ? BigInt(times) * powers[i] : 0n));
      sums.set(index, total(products));
    }
    return sums.get(index);
  }

  const cell = ({ model, accounting, attention, policy }) =>
    grid.cells[[model, accounting, attention, policy].join("|")];

  function states({ model, ranks, optimizer }) {
    const share = (BigInt(grid.parameters[model]) + BigInt(ranks) - 1n) / BigInt(ranks);
    const stored = ([bytes, parameters]) => BigInt(bytes) * ((share + BigInt(parameters) - 1n) / BigInt(parameters));
    return Object.values(grid.states[optimizer]).map((each) => total(each.map(stored)));
  }

  // One step: its parts in the order of the page, their sum, and what is recomputed as a share of the FLOPs
  function step(state) {
    const found = cell(state);
    if (!found) return undefined;
    at(state.seq_len, state.batch_size);
    const [attention, ffn, norm, checkpoint, logits, recompute, flops, ...alive] = found.map(sum);
    const saved = [attention, ffn, norm, checkpoint, logits];
    const most = alive.reduce((a, b) => (b > a ? b : a));
    const parts = [...states(state), ...saved, most - total(saved)];
    return { policy: state.policy, parts, bytes: total(parts), overhead: Number(recompute) / Number(flops) };
  }

  // All policies, fewest FLOPs first; those with as many stay as the page has them
  function steps(state) {
    const found = policies.map((policy) => step({ ...state, policy })).filter(Boolean);
    return found.sort((a, b) => a.overhead - b.overhead);
  }

  const cheapest = (steps, card) => steps.find(({ bytes }) => bytes <= card.bytes);
  const smallest = (steps) => steps.reduce((a, b) => (b.bytes < a.bytes ? b : a));

  // Of those before the first that fits, the smallest
  function nearestMiss(steps, card) {
    const fits = steps.findIndex(({ bytes }) => bytes <= card.bytes);
    const before = fits < 0 ? steps : steps.slice(0, fits);
    return before.length ? smallest(before) : undefined;
  }

  // The nearest choice to the wanted one that has numbers; its policy is "" where the wanted one has none
  function settle(wanted) {
    const others = (chosen, all) => [chosen, ...all.filter((each) => each !== chosen)];
    for (const accounting of others(wanted.accounting, Object.keys(grid.attentions))) {
      for (const attention of others(wanted.attention, grid.attentions[accounting])) {
        const state = { ...wanted, accounting, attention };
        if (cell(state)) return state;
        if (cell({ ...state, policy: "none" })) return { ...state, policy: "" };
      }
    }
    throw new Error(`no numbers for ${wanted.model}`);
  }

  return { step, steps, cheapest, smallest, nearestMiss, settle };
};
