"""The labs: they run, their pages show what they gave, and none is older than what it runs."""

import html
import importlib
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest_plugins = ["built_site"]

closure = pytest.importorskip("closure")
jupytext = pytest.importorskip("jupytext")
nbclient = pytest.importorskip("nbclient")

ROOT = Path(__file__).resolve().parent.parent
LABS = sorted((ROOT / "docs/labs").glob("*.py"))
ISLAND = re.compile(r'<script type="application/json">(.*?)</script>')
PLOTLY = "application/vnd.plotly.v1+json"

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


@pytest.fixture(scope="module", params=LABS, ids=lambda lab: lab.stem)
def outputs(request: pytest.FixtureRequest) -> tuple[str, list[Any]]:
    """A lab's name, and what its cells gave when they were executed for this test."""
    kernel = importlib.import_module("book.jupyter.kernel").Kernel()
    notebook = jupytext.read(request.param)
    nbclient.NotebookClient(notebook, km=kernel).execute(cleanup_kc=True)
    assert not Path(kernel.folder.name).exists()
    return request.param.stem, [output for cell in notebook.cells for output in cell.get("outputs", ())]


def test_the_page_shows_what_the_lab_gave(site: Path, outputs: tuple[str, list[Any]]) -> None:
    name, given = outputs
    page = (site / "labs" / name / "index.html").read_text(encoding="utf-8")
    printed = "".join(output.text for output in given if output.output_type == "stream" and output.name == "stdout")
    shown = re.findall(r'<pre class="ac-printed"><output>(.*?)</output></pre>', page, re.DOTALL)
    assert shown
    assert html.unescape("\n".join(shown)) == printed.rstrip()
    drawn = [output.data[PLOTLY] for output in given if PLOTLY in output.get("data", {})]
    islands = [json.loads(island) for island in ISLAND.findall(page)]
    assert [island["data"] for island in islands] == [plot["data"] for plot in drawn] != []
    assert page.count('<figure class="ac-figure"') == len(drawn)
    assert page.count('<table class="ac-numbers">') > len(drawn)
    assert page.count("<style") == page.count("Traceback") == page.count("stderr") == 0
    assert "<script src=" not in re.sub(r'<script src="\.\./\.\./assets/[^"]*"', "", page)
    assert len(page) < 120_000, "a notebook page is as light as any other"
    assert (site / "labs" / name / f"{name}.py").read_bytes() == (ROOT / f"docs/labs/{name}.py").read_bytes()
    assert f'<a href="{name}.py" download>' in page


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


@pytest.mark.parametrize("content", ["", "{", "[]", '{"asked": "another question", "step": {}}', "null"])
def test_an_entry_that_is_no_answer_counts_as_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    import actckpt

    measured = importlib.import_module("book.quantities.measured")
    monkeypatch.setattr(measured, "CACHE", tmp_path)
    measured._folder.cache_clear()
    config = replace(actckpt.PRESETS["llama-3.2-1b"], n_layers=2)
    truth = measured.measure(config, seq_len=128)
    (entry,) = tmp_path.rglob("*.json")
    entry.write_text(content, encoding="utf-8")
    assert measured.measure(config, seq_len=128) == truth
    assert '"asked"' in entry.read_text(encoding="utf-8")
    measured._folder.cache_clear()
