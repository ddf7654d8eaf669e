"""Times the site's explorer on a slow phone, side by side with the same chart in a page with full Plotly.

    .venv/bin/python -m mkdocs build && .venv/bin/python scripts/bench_site.py site

Headless Chromium with Lighthouse's slow 4G (150 ms a round trip, 1.6 Mbit/s down) and a CPU slowed four times, a cold
cache and a server that compresses as GitHub Pages does. Ends with 1 where a limit is missed.
"""

from __future__ import annotations

import argparse
import gzip
import json
import mimetypes
import os
import statistics
import sys
import tempfile
import threading
from dataclasses import dataclass
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

SLOW_4G = {"offline": False, "latency": 150, "downloadThroughput": 1.6e6 / 8, "uploadThroughput": 750e3 / 8}
SLOWER_CPU = 4
PHONE = (412, 823)
PAINTED_S, SLIDER_MS, SHIFT = 1.0, 33.0, 0.02

# notes when the chart is on the screen, and how far things shift
OBSERVE = """
window.bench = { painted: null, shift: 0 };
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.bench.shift += entry.value;
}).observe({ type: "layout-shift", buffered: true });
(function look() {
  const last = document.querySelector(".ac-explorer .ac-parts tr:last-child, .js-plotly-plot .barlayer .point");
  // the frame that this callback belongs to shows it; the next callback comes once that frame is done
  if (last) requestAnimationFrame(() => { window.bench.painted = performance.now(); });
  else requestAnimationFrame(look);
})();
"""

# moves the slider through its stops, each time until the frame with the change is done
SLIDE = """async (rounds) => {
  const slider = document.querySelector("input[type=range]"), times = [];
  for (let round = 0; round < rounds; round++) {
    for (let stop = Number(slider.min); stop <= Number(slider.max); stop++) {
      await new Promise((resolve) => setTimeout(resolve, 20 + 7 * (stop % 5)));
      const start = performance.now();
      slider.value = stop;
      slider.dispatchEvent(new Event("input", { bubbles: true }));
      await new Promise((resolve) => requestAnimationFrame(() => {
        const { port1, port2 } = new MessageChannel();
        port1.onmessage = resolve;
        port2.postMessage(0);
      }));
      times.push(performance.now() - start);
    }
  }
  return times;
}"""

SCROLL = """async () => {
  for (let y = 0; y < document.body.scrollHeight; y += 400) {
    scrollTo(0, y);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}"""


@dataclass(frozen=True)
class Timing:
    """What a reader on a slow phone gets."""

    painted_s: float
    slider_ms: float
    shift: float
    kilobytes: float


class Compressing(BaseHTTPRequestHandler):
    """Serves a folder with gzip and connections that stay open."""

    protocol_version = "HTTP/1.1"
    root: Path
    sent = 0

    def do_GET(self) -> None:
        """Answer with the file, or the index of the folder."""
        name = self.path.partition("?")[0].lstrip("/")
        file = self.root / name
        file = file / "index.html" if file.is_dir() else file
        body = compressed(file) if file.is_file() else b""
        type(self).sent += len(body)
        self.send_response(200 if body else 404)
        self.send_header("Content-Type", mimetypes.guess_type(file)[0] or "application/octet-stream")
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "max-age=600")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """The figures are what counts."""


@cache
def compressed(file: Path) -> bytes:
    """The file as it goes over the wire."""
    return gzip.compress(file.read_bytes())


def plotly_page(site: Path, target: Path) -> None:
    """A page with full Plotly, and the numbers of the home page's explorer in a stacked bar with a slider."""
    import plotly

    from actckpt import estimate

    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "docs"))
    from book.chapters import index as home
    from book.quantities import grid, text

    view = home.VIEW
    steps = [estimate(view.opens["model"], seq_len=length, data_parallel=8) for length in view.lengths]
    rows = [[count / 2**30 for count in grid.parts_of(step).values()] for step in steps]
    traces = [
        {"type": "bar", "orientation": "h", "name": text.LABELS[part], "x": [0], "y": [""]} for part in grid.PARTS
    ]
    bundle = Path(plotly.__file__).parent / "package_data/plotly.min.js"
    (target / "plotly.min.js").write_bytes(bundle.read_bytes())
    opens = view.lengths.index(view.opens["seq_len"])
    (target / "index.html").write_text(
        f"""<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>The same chart in Plotly</title><script src="plotly.min.js"></script>
<input type="range" min="0" max="{len(rows) - 1}" value="{opens}"><div id="chart" style="height:450px"></div>
<script>
const rows = {json.dumps(rows)}, traces = {json.dumps(traces)};
const at = (stop) => rows[stop].map((value) => [value]);
traces.forEach((trace, part) => {{ trace.x = [rows[{opens}][part]]; }});
Plotly.newPlot("chart", traces, {{ barmode: "stack" }}, {{ responsive: true }});
document.querySelector("input").addEventListener("input", (event) => {{
  Plotly.restyle("chart", {{ x: at(Number(event.target.value)) }});
}});
</script></html>""",
        encoding="utf-8",
    )


def slow_page(browser: Browser) -> Page:
    """A page on the slow phone, with nothing in its cache."""
    page = browser.new_context(
        viewport={"width": PHONE[0], "height": PHONE[1]}, device_scale_factor=2, is_mobile=True, has_touch=True
    ).new_page()
    client = page.context.new_cdp_session(page)
    client.send("Network.enable")
    client.send("Network.emulateNetworkConditions", SLOW_4G)
    client.send("Emulation.setCPUThrottlingRate", {"rate": SLOWER_CPU})
    page.add_init_script(OBSERVE)
    return page


def visit(browser: Browser, root: Path) -> Timing:
    """Open the page in `root` once and use its slider."""
    handler: Any = type("Handler", (Compressing,), {"root": root})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = slow_page(browser)
        page.goto(f"http://127.0.0.1:{server.server_address[1]}/", wait_until="commit")
        page.wait_for_function("window.bench.painted !== null", timeout=60_000)
        page.wait_for_load_state("load")
        page.wait_for_timeout(1000)
        kilobytes = handler.sent / 1024
        times = page.evaluate(SLIDE, 4)
        page.evaluate(SCROLL)
        page.wait_for_timeout(1000)
        bench = page.evaluate("window.bench")
        page.context.close()
        server.shutdown()
    p95 = statistics.quantiles(times, n=20)[-1]
    return Timing(bench["painted"] / 1000, p95, bench["shift"], kilobytes)


def median(timings: list[Timing]) -> Timing:
    """The median of each figure."""
    return Timing(*(statistics.median(getattr(timing, name) for timing in timings) for name in Timing.__annotations__))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("site", nargs="?", type=Path, default=Path("site"), help="the folder of a build")
    parser.add_argument("--runs", type=int, default=5, help="cold visits, of which the median counts")
    options = parser.parse_args()
    if not (options.site / "index.html").is_file():
        parser.error(f"{options.site} holds no site: build it, or name the folder of a build")
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        plotly_page(options.site, Path(folder))
        executable = os.environ.get("CHROMIUM", "/usr/bin/chromium")
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        ours, plotly = (
            median([visit(browser, root) for _ in range(options.runs)]) for root in (options.site, Path(folder))
        )
        browser.close()
    print(f"{'median of ' + str(options.runs) + ' visits':28}{'site':>10}{'Plotly':>10}{'ratio':>8}{'limit':>8}")
    rows = (
        ("chart painted, s", "painted_s", PAINTED_S),
        ("slider to paint, p95, ms", "slider_ms", SLIDER_MS),
        ("layout shift", "shift", SHIFT),
        ("sent by then, KB", "kilobytes", None),
    )
    for label, name, limit in rows:
        mine, other = getattr(ours, name), getattr(plotly, name)
        ratio = f"{other / mine:.1f}" if mine else "–"
        print(f"{label:28}{mine:>10.3f}{other:>10.3f}{ratio:>8}{limit or '':>8}")
    missed = [label for label, name, limit in rows if limit and getattr(ours, name) > limit]
    if missed:
        print(f"bench_site: over the limit: {', '.join(missed)}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
