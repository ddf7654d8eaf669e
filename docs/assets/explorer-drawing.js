// The pictures of an explorer: sizes are attributes of SVG, colours and patterns its classes. Nothing is counted here.
globalThis.actckptDrawing = (root, cards) => {
  // how many times a card's memory a bar has room for
  const ROOM = 2;
  // where a line's name stands on its left
  const FAR = 0.7;
  const find = (selector) => root.querySelector(selector);
  const all = (selector, within = root) => [...within.querySelectorAll(selector)];
  const rects = (within) => all(".ac-part rect", within);
  const only = find(".ac-bar");
  let width = 0;
  let drawn;

  const percent = (share) => `${(100 * Math.min(share, ROOM)).toFixed(3)}%`;

  // writing what is there already would still cost a frame
  function set(element, value, ...names) {
    for (const name of names) if (element.getAttribute(name) !== value) element.setAttribute(name, value);
  }

  // One rectangle beside the other; what is beyond the picture ends outside of it
  function stack(bar, parts, full) {
    let at = 0;
    parts.forEach((bytes, i) => {
      const share = Number(bytes) / full;
      set(bar[i], percent(at), "x");
      set(bar[i], percent(share), "width");
      at += share;
    });
  }

  // Cards that are sold as the same share a line, at the smallest of them, or at the chosen one
  function alike(chosen) {
    const groups = new Map();
    for (const card of cards) {
      const group = groups.get(card.gb);
      if (!group || card === chosen) groups.set(card.gb, card);
    }
    return [...groups.values()];
  }

  // The lines and their names; on which side of its line a name stands
  function mark(chosen, full, isBefore) {
    const marked = alike(chosen).map((card, i) => {
      const at = Number(card.bytes) / full;
      return { at, isChosen: card === chosen, isBefore: isBefore(at, i) };
    });
    all(".ac-flag").forEach((flag, i) => {
      set(flag, percent(marked[i].at), "x");
      flag.classList.toggle("ac-is-chosen", marked[i].isChosen);
      flag.classList.toggle("ac-before", marked[i].isBefore);
      flag.classList.toggle("ac-off", marked[i].at > 1);
    });
    all(".ac-line").forEach((line, i) => {
      const { at, isChosen } = marked[i % marked.length];
      set(line, percent(at), "x1", "x2");
      line.classList.toggle("ac-is-chosen", isChosen);
    });
  }

  // A bar for each policy: the chosen card's line is in the middle
  const scale = (card) => ROOM * Number(card.bytes);
  const lines = (card) => mark(card, scale(card), (at, i) => i === 0 || at < 0.499 || at > FAR);

  function policy(row, bar, step, card) {
    stack(bar, step.parts, scale(card));
    row.classList.toggle("ac-cut", Number(step.bytes) > scale(card));
  }

  // One bar, with its parts named where there is room
  function bar(step) {
    drawn = step;
    const largest = cards.at(-1);
    const full = Math.min(1.04 * Math.max(Number(step.bytes), Number(largest.bytes)), scale(largest));
    const found = rects(only);
    stack(found, step.parts, full);
    found.forEach((rect, i) => {
      const name = rect.nextElementSibling;
      set(name, rect.getAttribute("x"), "x");
      const room = (Number(step.parts[i]) / full) * width;
      rect.parentElement.classList.toggle("ac-narrow", room < 16 + 7 * name.textContent.length);
    });
    only.classList.toggle("ac-cut", Number(step.bytes) > full);
    mark(undefined, full, (at) => at > FAR);
  }

  if (only) {
    // reading a width while a slider moves would make the browser lay the page out twice
    new ResizeObserver(([entry]) => {
      width = entry.contentRect.width;
      if (drawn) bar(drawn);
    }).observe(only);
  }
  return { barOf: rects, lines, policy, bar };
};

// A command beside a button that copies it; where there is no clipboard, it is selected
globalThis.actckptCopy = (command, note) => {
  const button = command.querySelector("button");
  const code = command.querySelector("code");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code);
      note.textContent = "There is no clipboard here: the command is selected, copy it with Ctrl+C or ⌘C.";
    }
    setTimeout(() => {
      button.textContent = "Copy as command";
      note.textContent = "";
    }, 6000);
  });
};
