// The players: show one frame of a picture at a time, by button, slider, key or clock. Nothing is computed here.
(() => {
  // "2-5 7" as the frames it names
  function frames(ranges) {
    const named = new Set();
    for (const range of ranges.split(" ").filter(Boolean)) {
      const [first, last = first] = range.split("-").map(Number);
      for (let frame = first; frame <= last; frame++) named.add(frame);
    }
    return named;
  }

  function start(root) {
    const last = Number(root.dataset.frames) - 1;
    const still = Number(root.dataset.still);
    const parts = [...root.querySelectorAll("[data-on]")].map((part) => [part, frames(part.dataset.on)]);
    const sentences = root.querySelectorAll(".ac-player__frames > li");
    const now = root.querySelector(".ac-player__now");
    const range = root.querySelector(".ac-player__place input");
    const place = root.querySelector(".ac-player__place output");
    const play = root.querySelector("[data-do='play']");
    let frame = still;
    let clock = 0;

    function draw(next) {
      for (const [part, shown] of parts) part.classList.toggle("is-off", !shown.has(next));
    }

    function show(next) {
      frame = Math.min(Math.max(next, 0), last);
      draw(frame);
      now.innerHTML = sentences[frame].innerHTML;
      range.value = frame + 1;
      place.textContent = `${frame + 1} of ${last + 1}`;
      range.setAttribute("aria-valuetext", place.textContent);
      root.dataset.frame = frame;
      root.dispatchEvent(new CustomEvent("ac-frame", { bubbles: true, detail: { frame } }));
    }

    function playing(on) {
      clearInterval(clock);
      clock = on ? setInterval(tick, 1000 * root.dataset.seconds) : 0;
      root.classList.toggle("is-playing", on);
      play.lastElementChild.textContent = on ? "Pause" : "Play";
      // a screen reader is told where the picture stands, not every frame on the way
      now.setAttribute("aria-live", on ? "off" : "polite");
    }

    function tick() {
      show(frame + 1);
      if (frame === last) playing(false);
    }

    const go = (next) => {
      playing(false);
      show(next);
    };
    const actions = {
      back: () => go(frame - 1),
      // past the end lies the beginning
      forward: () => go(frame === last ? 0 : frame + 1),
      play: () => {
        if (clock) return playing(false);
        playing(true);
        show(frame === last ? 0 : frame + 1);
      },
    };
    const keys = {
      ArrowLeft: actions.back,
      ArrowRight: actions.forward,
      Home: () => go(0),
      End: () => go(last),
      " ": actions.play,
    };

    for (const button of root.querySelectorAll("[data-do]")) button.addEventListener("click", actions[button.dataset.do]);
    range.addEventListener("input", () => go(range.value - 1));
    root.addEventListener("keydown", (event) => {
      const button = event.target.closest("[data-do]");
      // a focused button has a use for Space itself, and the slider for every key
      const known = keys[event.key] && (event.target === root || (button && event.key !== " "));
      if (!known || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      keys[event.key]();
    });

    // Paper has the still frame, whatever stands on the screen
    addEventListener("beforeprint", () => draw(still));
    addEventListener("afterprint", () => draw(frame));
    root.tabIndex = 0;
    root.dataset.ready = "true";
  }

  for (const root of document.querySelectorAll(".ac-player")) start(root);
})();
