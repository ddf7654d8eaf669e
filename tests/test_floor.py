"""The closed forms with the oldest NumPy that the package takes."""

from __future__ import annotations

import subprocess
import sys

import pytest
from kernels import floor

FORMULAS = ("tests/test_formulas.py", "tests/test_terms.py", "tests/test_tradeoff.py")


def test_the_closed_forms_with_the_oldest_numpy() -> None:
    version = "import numpy; print(numpy.__version__)"
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *FORMULAS]
    options = {"env": floor.environment(), "cwd": floor.ROOT, "capture_output": True, "text": True, "check": False}
    assert subprocess.run([sys.executable, "-c", version], **options).stdout.strip() == floor.version("numpy")
    done = subprocess.run(command, **options)
    if done.returncode:
        pytest.fail(done.stdout[-6000:] + done.stderr[-2000:], pytrace=False)
