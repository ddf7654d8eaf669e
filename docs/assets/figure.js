// Draws a figure when it comes into view, in the colours of the active scheme, and again when the scheme changes.
(() => {
  const source = new URL("vendor/plotly.min.js", document.currentScript.src);
  const inView = new Set();
  // has Plotly write no style of its own into the page, which figure.css has in its place
  document.head.append(Object.assign(document.createElement("meta"), { id: "plotly.js-style-global", className: "no-inline-styles" }));
  let library;

  function plotly() {
    library ??= new Promise((resolve, reject) => {
      const script = Object.assign(document.createElement("script"), { src: source, onerror: reject });
      script.onload = () => resolve(window.Plotly);
      document.head.append(script);
    });
    return library;
  }

  const forced = matchMedia("(forced-colors: active)");
  const probe = Object.assign(document.createElement("i"), { hidden: true });
  probe.style.forcedColorAdjust = "none";
  document.body.append(probe);

  function token(name) {
    const color = getComputedStyle(document.body).getPropertyValue(`--ac-${name}`).trim();
    if (!color || !forced.matches) return color;
    // a colour of the reader's system has a name that Plotly does not know
    probe.style.color = color;
    return getComputedStyle(probe).color;
  }

  function coloured({ data, layout }) {
    const ink = token("ink");
    const narrow = document.documentElement.clientWidth < 768;
    const size = narrow ? 11 : 13;
    const lines = { gridcolor: token("grid"), linecolor: token("grid"), zerolinecolor: token("grid") };
    // a finger that moves over a chart scrolls the page
    const axis = { ...lines, automargin: true, fixedrange: true };
    const title = ({ title }) => ({ title: { ...title, standoff: 12, font: { size } } });
    for (const trace of data) {
      const color = token(trace.meta);
      trace.marker = { ...trace.marker, color };
      if (trace.line) trace.line = { ...trace.line, color };
      // bright enough to draw, a line's own colour may be too light to read
      if (trace.textfont) trace.textfont = { color: token(`${trace.meta}-text`) || color, size };
      if (trace.marker.pattern) trace.marker.pattern = { ...trace.marker.pattern, fillmode: "overlay", fgcolor: token("ground"), fgopacity: 0.45, size: 6 };
      if (trace.type === "bar") {
        trace.marker.line = { color: token("ground"), width: 1 };
        if (trace.text) trace.insidetextfont = { color: token(trace.meta === "attention" ? "on-fill" : "on-light-fill") };
      }
    }
    for (const shape of layout.shapes ?? []) if (shape.name) shape.line = { ...shape.line, color: token(shape.name) };
    for (const note of layout.annotations ?? []) {
      if (!note.name) continue;
      note.font = { color: token(`${note.name}-text`) || token(note.name), size };
      note.arrowcolor = token(note.name);
    }
    return {
      data,
      layout: {
        ...layout,
        autosize: true,
        font: { color: ink, family: getComputedStyle(document.body).fontFamily, size },
        margin: narrow ? { ...layout.margin, l: 44, r: 0.7 * layout.margin.r } : layout.margin,
        hoverlabel: { bgcolor: token("ground"), bordercolor: token("grid"), font: { color: ink } },
        xaxis: { ...(narrow ? everyOther(layout.xaxis) : layout.xaxis), ...axis, ...title(layout.xaxis) },
        yaxis: { ...layout.yaxis, ...axis, ...title(layout.yaxis) },
      },
    };
  }

  // On a phone there is room for half of the marks; the last one stays
  function everyOther(axis) {
    const half = (marks) => marks?.filter((_, index) => (marks.length - index) % 2 === 1);
    return { ...axis, tickvals: half(axis.tickvals), ticktext: half(axis.ticktext) };
  }

  async function draw(figure) {
    const place = figure.querySelector(".ac-figure__plot");
    const Plotly = await plotly().catch(() => null);
    if (!Plotly) return instead(figure, place);
    const { data, layout } = coloured(JSON.parse(figure.querySelector("script").textContent));
    await Plotly.react(place, data, layout, { responsive: true, displayModeBar: false });
    figure.dataset.drawn = document.body.dataset.mdColorScheme;
  }

  // Without the library the numbers are all that can be shown
  function instead(figure, place) {
    place.removeAttribute("role");
    place.removeAttribute("aria-label");
    place.textContent = "The chart cannot be drawn: the library that draws it did not load. These are its numbers.";
    figure.querySelector(".ac-data").open = true;
  }

  const seen = new IntersectionObserver(
    (entries) => {
      for (const { isIntersecting, target } of entries) {
        if (!isIntersecting) continue;
        seen.unobserve(target);
        inView.add(target);
        draw(target);
      }
    },
    { rootMargin: "300px" },
  );
  for (const figure of document.querySelectorAll(".ac-figure")) seen.observe(figure);

  // Paper has the light scheme, and shows the figures that nobody scrolled to
  matchMedia("print").addEventListener("change", () => document.querySelectorAll(".ac-figure").forEach(draw));
  forced.addEventListener("change", () => inView.forEach(draw));
  new MutationObserver(() => inView.forEach(draw)).observe(document.body, { attributeFilter: ["data-md-color-scheme"] });
})();
