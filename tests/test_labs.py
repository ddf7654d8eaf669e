"""The labs: they run, their pages show what they gave, and none is older than what it runs."""

import html
import importlib
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest_plugins = ["built_site"]

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
labs = pytest.importorskip("labs")
closure = pytest.importorskip("closure")

LABS = sorted(labs.LABS.glob("*.py"))
TINY = labs.LABS / "tiny-llama.py"

# what a process has loaded of the package beside that which `import actckpt` alone loads
PROBE = """
import runpy, sys
import actckpt
before = set(sys.modules)
runpy.run_path(sys.argv[1])
print(*(sys.modules[name].__file__ for name in set(sys.modules) - before if name.startswith("actckpt")), sep="\\n")
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the package and the labs, to be changed."""
    for folder in ("actckpt", "docs/labs"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def executed(lab: Path) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return labs.begin(lab, pool).result()


def change(file: Path) -> None:
    file.write_text(file.read_text(encoding="utf-8") + "\n# a change\n", encoding="utf-8")


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.stem)
def test_a_lab_runs_as_a_script_and_reaches_what_it_loads(lab: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, str(lab)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    loaded = {Path(line) for line in done.stdout.splitlines() if line.startswith(str(ROOT))}
    assert ROOT / "actckpt/ops/attention/reference.py" in loaded
    assert loaded <= set(closure.sources(lab))


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.stem)
def test_the_page_shows_what_the_lab_gave(site: Path, lab: Path) -> None:
    page = (site / "labs" / lab.stem / "index.html").read_text(encoding="utf-8")
    cells = executed(lab).cells
    outputs = [output for cell in cells if cell.cell_type == "code" for output in cell.outputs]
    printed = [output.text for output in outputs if output.output_type == "stream" and output.name == "stdout"]
    assert printed
    for words in printed:
        assert html.escape(words.rstrip()) in page
    drawn = [output for output in outputs if "application/vnd.plotly.v1+json" in output.get("data", {})]
    assert page.count('<figure class="ac-figure"') == len(drawn) > 0
    assert page.count('<table class="ac-numbers">') > len(drawn)
    assert "Traceback" not in page
    assert "<script src=" not in re.sub(r'<script src="\.\./\.\./assets/[^"]*"', "", page)
    assert len(page) < 120_000, "a notebook page is as light as any other"


def test_every_policy_gives_the_same_losses_and_weights(site: Path) -> None:
    page = (site / "labs/tiny-llama/index.html").read_text(encoding="utf-8")
    for what in ("have every loss of none", "end with every weight of none"):
        equal, of = map(int, re.search(rf"(\d+) of (\d+) policies {what}, bit for bit", page).groups())
        assert equal == of > 1


def test_a_change_in_what_a_lab_runs_changes_its_key(copy: Path) -> None:
    lab = copy / "docs/labs/tiny-llama.py"
    keys = {closure.key(lab, copy)}
    for file in ("actckpt/checkpointing.py", "actckpt/ops/attention/reference.py", "actckpt/policy.py", lab):
        change(copy / file)
        keys.add(closure.key(lab, copy))
    assert len(keys) == 5


def test_a_change_elsewhere_does_not(copy: Path) -> None:
    lab = copy / "docs/labs/tiny-llama.py"
    before = closure.key(lab, copy)
    for file in ("actckpt/blocks/llama.py", "actckpt/cli.py", "docs/labs/flash-attention.py"):
        change(copy / file)
    assert closure.key(lab, copy) == before


@pytest.mark.parametrize(
    "line",
    [
        "from actckpt import estimate",
        "import actckpt",
        "import actckpt.blocks.llama",
        "from actckpt.blocks import llama",
        "def later():\n    from actckpt.report import table",
    ],
)
def test_a_lab_that_uses_a_formula_depends_on_it(copy: Path, line: str) -> None:
    lab = copy / "docs/labs/tiny-llama.py"
    lab.write_text(f"{lab.read_text(encoding='utf-8')}\n# %%\n{line}\n", encoding="utf-8")
    before = closure.key(lab, copy)
    change(copy / "actckpt/blocks/llama.py")
    assert closure.key(lab, copy) != before


@pytest.fixture
def counting_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lab that leaves a line in a file whenever it is executed."""
    lab = tmp_path / "counting.py"
    lab.write_text(
        f"# %%\nwith open({str(tmp_path / 'runs')!r}, 'a') as runs:\n    runs.write('run\\n')\nprint(6 * 7)\n"
    )
    monkeypatch.setattr(labs, "CACHE", tmp_path / "cache")
    return lab


def test_a_lab_is_executed_once_until_it_changes(counting_lab: Path) -> None:
    runs = counting_lab.with_name("runs")
    for _ in range(2):
        (cell,) = executed(counting_lab).cells
        assert cell.outputs[0].text == "42\n"
    assert runs.read_text() == "run\n"
    change(counting_lab)
    executed(counting_lab)
    assert runs.read_text() == "run\nrun\n"
    assert len(list(labs.CACHE.iterdir())) == 1, "the older run is gone"


def test_a_lab_that_fails_is_an_error_and_is_not_kept(counting_lab: Path) -> None:
    counting_lab.write_text("# %%\n1 / 0\n")
    with pytest.raises(labs.CellExecutionError, match="ZeroDivisionError"):
        executed(counting_lab)
    assert not labs.CACHE.exists()


def test_a_measurement_depends_on_no_formula(copy: Path) -> None:
    code = copy / "actckpt/measurement.py"
    before = closure.key(code, copy)
    change(copy / "actckpt/blocks/llama.py")
    assert closure.key(code, copy) == before
    change(copy / "actckpt/recorder.py")
    assert closure.key(code, copy) != before


def test_a_measurement_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import actckpt

    measured = importlib.import_module("book.quantities.measured")
    monkeypatch.setattr(measured, "CACHE", tmp_path)
    measured._folder.cache_clear()
    config = replace(actckpt.PRESETS["llama-3.2-1b"], n_layers=2)
    truth = actckpt.measure(config, seq_len=128, policy="ffn")
    assert measured.measure(config, seq_len=128, policy="ffn") == truth
    monkeypatch.setattr(actckpt, "measure", None)
    assert measured.measure(config, seq_len=128, policy="ffn") == truth
    with pytest.raises(TypeError):
        measured.measure(config, seq_len=128, policy="full")
    measured._folder.cache_clear()
