"""Takes the picture that a shared link shows, docs/assets/preview.png, from the home page of a built site.

    .venv/bin/python -m mkdocs build && .venv/bin/python scripts/preview_image.py site

The bytes that the picture shows are in the file too, where a test compares them with what the package computes.
"""

from __future__ import annotations

import functools
import json
import os
import struct
import sys
import threading
import zlib
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

TARGET = Path(__file__).resolve().parent.parent / "docs/assets/preview.png"
WIDTH, HEIGHT, SCALE = 960, 504, 1.25
STYLE = """
.md-header, .md-footer, .md-tabs, .ac-lead, .ac-controls, .ac-policies ~ *,
.ac-explorer > :not(.ac-choose, .ac-result, .ac-patterns), .ac-policies legend, .ac-policies input,
.ac-explorer ~ * { display: none !important; }
.md-main__inner { margin: 0 !important; }
.md-content__inner { margin: 0 !important; padding: 0 2rem !important; }
.md-content__inner::before, h1 .headerlink { display: none !important; }
.md-typeset h1 { margin: 1rem 0 0.2rem !important; font-size: 1.8rem !important; line-height: 1.15; }
.ac-explorer {
  display: block !important; margin: 0 !important; padding: 0 !important;
  border: 0 !important; background: none !important;
}
.md-typeset label.ac-policy { height: 1.08rem !important; font-size: 0.66rem !important; }
.ac-policy__name { white-space: nowrap; }
.ac-policy__name small { display: inline !important; margin: 0 !important; }
.ac-total data { font-size: 2rem !important; }
.preview { margin: 0 0 0.4rem !important; color: var(--ac-quiet); font-size: 0.9rem; }
"""
# what is shown, in the words of the controls
SUBTITLE = """() => {
  const form = document.querySelector(".ac-explorer form").elements;
  const model = form.model.selectedOptions[0].textContent, length = form.seq_len.getAttribute("aria-valuetext");
  const words = `${model}, ${length}, states shared by ${form.ranks.value} GPUs`;
  const line = Object.assign(document.createElement("p"), { className: "preview", textContent: words });
  document.querySelector("h1").after(line);
}"""


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """The picture is what counts."""


def take(page: Page, address: str) -> tuple[bytes, dict[str, int]]:
    """The picture, and the bytes of each part that stand on it."""
    page.goto(address)
    page.add_style_tag(content=STYLE)
    page.evaluate(SUBTITLE)
    numbers = page.locator(".ac-explorer").evaluate(
        """root => Object.fromEntries(
          [...root.querySelectorAll("data[data-part]")].map((d) => [d.dataset.part, Number(d.value)]))"""
    )
    return page.screenshot(), numbers


def with_text(png: bytes, key: str, text: str) -> bytes:
    """The PNG with a text chunk behind its header."""
    body = b"tEXt" + key.encode("latin-1") + b"\0" + text.encode("latin-1")
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    # the signature takes 8 bytes and the header's chunk 25
    return png[:33] + chunk + png[33:]


def main() -> None:
    site = Path(sys.argv[1] if len(sys.argv) > 1 else "site")
    if not (site / "index.html").is_file():
        sys.exit(f"preview_image: {site} holds no site: build it, or name the folder of a build")
    handler = functools.partial(QuietHandler, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, sync_playwright() as playwright:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(
            viewport={"width": WIDTH, "height": HEIGHT}, device_scale_factor=SCALE, color_scheme="light"
        )
        png, numbers = take(page, f"http://127.0.0.1:{server.server_address[1]}/")
        browser.close()
        server.shutdown()
    TARGET.write_bytes(with_text(png, "Shows", json.dumps(numbers)))
    print(f"preview_image: {TARGET.name}, {TARGET.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
