"""Fixtures: the built site, on disk and served under a path as GitHub Pages serves it, and a browser to open it in."""

import functools
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent

# Without these a headless Chromium talks to its maker, or needs a GPU or a user that a container lacks
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


# where the build under test would be published: pages link relatively, the sitemap and 404.html do not
SITE_URL = "https://example.org/actckpt/"


class LikePages(SimpleHTTPRequestHandler):
    """Serves as GitHub Pages does: what is missing is answered with 404.html, whatever its depth."""

    def send_error(self, code: int, *_: object) -> None:
        missing = Path(self.directory) / "actckpt/404.html"
        body = missing.read_bytes() if self.path.startswith("/actckpt/") and missing.is_file() else b""
        self.send_response(code)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """The browser reports what is missing; the log would only repeat it."""


def build(root: Path, target: Path) -> None:
    """Build the checkout at `root` into `target`, strictly."""
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(target)],
        cwd=root,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "SITE_URL": SITE_URL},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def build_site() -> Callable[[Path, Path], None]:
    """`build`, for a test that builds another checkout."""
    return build


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built site: ACTCKPT_SITE where that names one (built with SITE_URL), or a new build."""
    if given := os.environ.get("ACTCKPT_SITE"):
        return Path(given)
    target = tmp_path_factory.mktemp("site")
    build(ROOT, target)
    return target


@pytest.fixture(scope="session")
def address(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the site is served: below /actckpt/, with nothing at the root."""
    root = tmp_path_factory.mktemp("served")
    (root / "actckpt").symlink_to(site, target_is_directory=True)
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(LikePages, directory=str(root))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/actckpt/"
        server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        executable = os.environ.get("CHROMIUM", "/usr/bin/chromium")
        browser = playwright.chromium.launch(executable_path=executable, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1400, "height": 900}, reduced_motion="reduce")
    yield context.new_page()
    context.close()
