"""`import actckpt` needs numpy alone: it loads nothing heavy and costs little more than `import numpy`."""

import json
import os
import pkgutil
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = {"plotly", "torch", "transformers", "triton"}
LIMIT_S = 0.05

# more processor time than an import may take
SLOW = "import time\nuntil = time.process_time() + 0.2\nwhile time.process_time() < until: pass"

# processor time of one import after numpy's, and the heavy modules that came with it
PROBE = """
import json, sys, time
import numpy
start = time.process_time()
import {module}
spent = time.process_time() - start
print(json.dumps([spent, sorted(set(sys.modules) & set({heavy!r}))]))
"""


def probe(module: str, source: Path, cache: Path) -> tuple[float, list[str]]:
    """The seconds that `import module` takes in a new process, from `source`, and the heavy modules that it loads."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    environment |= {"PYTHONPATH": str(source), "PYTHONPYCACHEPREFIX": str(cache)}
    code = PROBE.format(module=module, heavy=sorted(HEAVY))
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=cache, capture_output=True, text=True, check=True
    )
    seconds, heavy = json.loads(done.stdout)
    return seconds, heavy


def check_import(source: Path, cache: Path) -> None:
    """Fails where `import actckpt` from `source` loads something heavy or takes too long."""
    # the first run writes the bytecode and is not counted
    _, heavy = probe("actckpt", source, cache)
    assert not heavy, f"import actckpt loads {', '.join(heavy)}"
    seconds = statistics.median(probe("actckpt", source, cache)[0] for _ in range(5))
    assert seconds <= LIMIT_S, f"import actckpt takes {seconds:.3f} s more than numpy; the limit is {LIMIT_S} s"


def test_import_is_light(tmp_path: Path) -> None:
    check_import(ROOT, tmp_path)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import torch", "loads torch"),
        ("import plotly.graph_objects", "loads plotly"),
        (SLOW, "s more than numpy"),
    ],
)
def test_a_heavy_import_is_caught(tmp_path: Path, code: str, message: str) -> None:
    copy = tmp_path / "actckpt"
    shutil.copytree(ROOT / "actckpt", copy, ignore=shutil.ignore_patterns("__pycache__"))
    with (copy / "__init__.py").open("a") as init:
        init.write(f"\n{code}\n")
    with pytest.raises(AssertionError, match=message):
        check_import(tmp_path, tmp_path)


def test_formulas_and_command_line_stay_light(tmp_path: Path) -> None:
    formulas = [f"actckpt.formulas.{module.name}" for module in pkgutil.iter_modules([str(ROOT / "actckpt/formulas")])]
    assert formulas
    for module in [*formulas, "actckpt.cli"]:
        _, heavy = probe(module, ROOT, tmp_path)
        assert not heavy, f"import {module} loads {', '.join(heavy)}"
