"""mkdocs serve shows what follows from a formula once it is saved, without running again what does not depend on it."""

import importlib.util
import shutil
from pathlib import Path

import pytest

pytest.importorskip("mkdocs")

ROOT = Path(__file__).resolve().parent.parent


def test_a_saved_formula_is_shown(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("bench_build", ROOT / "scripts/bench_build.py")
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    bench.copy_to(tmp_path)
    if (ROOT / ".cache").is_dir():
        unused = shutil.ignore_patterns("floor*", "inductor", "kernels", "triton")
        shutil.copytree(ROOT / ".cache", tmp_path / ".cache", ignore=unused)
    seconds = bench.time_to_show(tmp_path)
    # ten on two cores that have nothing else to do; other tests run beside this one
    assert seconds < 60
