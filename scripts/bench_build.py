#!/usr/bin/env python3
"""Times the build of the site: from nothing, with nothing changed, and until mkdocs serve shows a changed formula.

    .venv/bin/python scripts/bench_build.py

It works on a copy of this checkout. The limits hold for two cores that have nothing else to do.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.request import urlopen

ROOT = Path(__file__).resolve().parent.parent
COLD_S, WARM_S, SERVE_S = 60, 15, 10
# the FFN's inside is 4H wide: the paper's block keeps more where it is 5H
FORMULA = "actckpt/blocks/gpt.py"
BEFORE, AFTER = '("gelu_input", "ffn", wide,', '("gelu_input", "ffn", (S, B, 5 * H),'
SHOWN_BEFORE, SHOWN_AFTER = "34 SBH", "36 SBH"
# the longest that a build may take before this gives up
PATIENCE_S = 120


def copy_to(folder: Path) -> None:
    """Copy what a build needs, without what other builds have kept."""
    ignored = shutil.ignore_patterns(".git", ".venv", ".cache", "node_modules", "site", "__pycache__", ".*_cache")
    shutil.copytree(ROOT, folder, ignore=ignored, dirs_exist_ok=True)


def environment(checkout: Path) -> dict[str, str]:
    """That of a build of the copy, to be served at the root."""
    # below a path, MkDocs logs a redirect of / as a warning, which ends a strict build that is under way
    given = {name: value for name, value in os.environ.items() if name != "SITE_URL"}
    # mkdocs serve leaves its site among the temporary files where it is ended
    return {**given, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(checkout), "TMPDIR": str(checkout)}


def build(checkout: Path) -> float:
    """The seconds that a strict build takes."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(checkout / "site")],
        cwd=checkout,
        env=environment(checkout),
        check=True,
    )
    return time.perf_counter() - start


@contextmanager
def serve(checkout: Path) -> Iterator[str]:
    """Serve the copy, and yield the address of its home page."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mkdocs", "serve", "--strict", "--livereload", "-a", f"127.0.0.1:{port}"]
    server = subprocess.Popen(
        command, cwd=checkout, env=environment(checkout), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.terminate()
        server.wait()


def wait_for(words: str, address: str) -> float:
    """The seconds until the page at `address` has `words` on it."""
    start = time.perf_counter()
    while time.perf_counter() - start < PATIENCE_S:
        try:
            with urlopen(address, timeout=PATIENCE_S) as answer:
                # a number and its unit stand on one line
                if words in answer.read().decode().replace("\u00a0", " "):
                    return time.perf_counter() - start
        except OSError:
            # not there yet
            pass
        time.sleep(0.1)
    raise TimeoutError(f"{address} did not show {words!r} within {PATIENCE_S} s")


def change_formula(checkout: Path) -> None:
    """Save a formula with another coefficient."""
    file = checkout / FORMULA
    source = file.read_text(encoding="utf-8")
    if source.count(BEFORE) != 1:
        raise ValueError(f"{FORMULA} no longer has {BEFORE!r}: choose another coefficient to change")
    file.write_text(source.replace(BEFORE, AFTER), encoding="utf-8")


def time_to_show(checkout: Path) -> float:
    """The seconds from saving a formula to a page that shows what follows from it."""
    with serve(checkout) as address:
        wait_for(SHOWN_BEFORE, address)
        change_formula(checkout)
        return wait_for(SHOWN_AFTER, address)


def main() -> int:
    """Time everything, print it against the limits, and return 1 where one is missed."""
    with TemporaryDirectory() as folder:
        checkout = Path(folder)
        copy_to(checkout)
        found = [
            ("cold: nothing kept from another build", build(checkout), COLD_S),
            ("warm: nothing changed", build(checkout), WARM_S),
            ("serve: until a saved formula is shown", time_to_show(checkout), SERVE_S),
        ]
    for what, seconds, limit in found:
        print(f"{what:42} {seconds:6.1f} s   limit {limit} s   {'' if seconds <= limit else 'MISSED'}".rstrip())
    return int(any(seconds > limit for _, seconds, limit in found))


if __name__ == "__main__":
    sys.exit(main())
