"""Plants faults one by one in a copy of the checkout, builds the site there, and says which the tests of pages miss.

    .venv/bin/python tests/planted_faults.py            # all of them: about a quarter of a minute each, more in actckpt
    .venv/bin/python tests/planted_faults.py rope swap  # those whose name has one of the words

`page_faults` has them. One that no longer applies ends the run: mend it, or take it out.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from page_faults import FAULTS, Fault

ROOT = Path(__file__).resolve().parent.parent
TESTS = ("tests/test_prose.py", "tests/test_tables_on_pages.py")


def main(words: list[str]) -> int:
    """Plant the faults whose name has one of the words, or all; the status is 1 where one is missed."""
    chosen = [fault for fault in FAULTS if not words or any(word in fault.name for word in words)]
    missed = []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "checkout"
        copy_checkout(copy)
        if found := run_tests(copy):
            sys.exit(f"without a fault: {found}")
        for fault in chosen:
            found = plant(copy, fault)
            missed += [] if found else [fault.name]
            print(f"{'caught' if found else 'MISSED'}  {fault.file}: {fault.name}  {found}", flush=True)
    print(f"{len(chosen) - len(missed)} of {len(chosen)} caught")
    return bool(missed)


def copy_checkout(copy: Path) -> None:
    """All files that git knows, and what a build keeps."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, copy / name)
    for kept in (".cache", "docs/assets/vendor"):
        if (ROOT / kept).is_dir():
            shutil.copytree(ROOT / kept, copy / kept)


def plant(copy: Path, fault: Fault) -> str:
    """How many tests fail with the fault, or that the build does; "" where nothing notices."""
    file = copy / fault.file
    right = file.read_text(encoding="utf-8")
    if right.count(fault.right) != 1:
        sys.exit(f"{fault.file} has {right.count(fault.right)} times what “{fault.name}” replaces: {fault.right}")
    file.write_text(right.replace(fault.right, fault.wrong), encoding="utf-8")
    try:
        return run_tests(copy)
    finally:
        file.write_text(right, encoding="utf-8")


def run_tests(copy: Path) -> str:
    """Build the copy's site and run the tests of pages on it."""
    site = copy.parent / "site"
    env = {**os.environ, "PYTHONPATH": str(copy), "NO_MKDOCS_2_WARNING": "1", "ACTCKPT_SITE": str(site)}
    python = (sys.executable, "-B", "-m")
    build = subprocess.run(
        [*python, "mkdocs", "build", "--clean", "--site-dir", str(site)],
        cwd=copy,
        env=env,
        capture_output=True,
        text=True,
    )
    if build.returncode:
        return "the build fails: " + (build.stdout + build.stderr).strip()[-100:]
    tests = subprocess.run(
        [*python, "pytest", "-q", "--tb=no", "-p", "no:cacheprovider", *TESTS],
        cwd=copy,
        env=env,
        capture_output=True,
        text=True,
    )
    return tests.stdout.strip().splitlines()[-1] if tests.returncode else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
