"""Run tests in Triton's interpreter, which must be chosen before triton is imported: in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from kernels import floor

HERE = Path(__file__).parent
INSTALLED_AND_OLDEST = pytest.mark.parametrize("oldest", [False, True], ids=["installed", "oldest"])


def run_interpreted(file: str, oldest: bool) -> None:
    """Fail with pytest's output if a test of `file`, a file beside this one, fails with that Triton."""
    environment = floor.environment() if oldest else dict(os.environ)
    environment |= {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    environment.pop("PYTEST_ADDOPTS", None)
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-W", "ignore::RuntimeWarning"]
    done = subprocess.run(
        [*command, str(HERE / file)], env=environment, cwd=HERE.parents[1], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.fail(done.stdout[-6000:] + done.stderr[-2000:], pytrace=False)
