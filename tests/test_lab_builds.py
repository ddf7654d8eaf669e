"""Builds of a site with one lab: it is executed when it has to be, and what goes wrong is said and mended."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

pytest.importorskip("mkdocs_jupyter")

ROOT = Path(__file__).resolve().parent.parent
ISLAND = re.compile(r'<script type="application/json">(.*?)</script>')

COUNTING = """
# ---
# title: Counting
# ---

# %% [markdown]
# # Counting

# %%
from pathlib import Path

from actckpt.policy import POLICIES

with Path("runs").open("a") as runs:
    runs.write("run\\n")
print(len(POLICIES))
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose site is a home page and one lab, which leaves a line in `runs` whenever it is executed."""
    # a socket's path could not be as long
    root = tmp_path / (20 * "deep ") / "checkout"
    for folder in ("actckpt", "docs/book", "overrides", "scripts"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("docs/data/sources.yml", "docs/reference/glossary.md"):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, root / file)
    shutil.copytree(ROOT / "docs/assets", root / "docs/assets", ignore=shutil.ignore_patterns("vendor"))
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    without_nav = re.sub(r"^nav:\n(?: .*\n)+", "", settings, flags=re.MULTILINE)
    # the glossary is read for tooltips, and is no page
    one_lab = without_nav.replace("exclude_docs: |\n", "exclude_docs: |\n  reference/\n")
    assert without_nav not in (settings, one_lab)
    (root / "mkdocs.yml").write_text(one_lab, encoding="utf-8")
    (root / "docs/index.md").write_text("# Home\n", encoding="utf-8")
    write(root, COUNTING)
    return root


def write(checkout: Path, lab: str) -> None:
    (checkout / "docs/labs").mkdir(exist_ok=True)
    (checkout / "docs/labs/counting.py").write_text(lab, encoding="utf-8")


def start(checkout: Path, *options: str, **process: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", *options]
    process["env"] = {**os.environ, "NO_MKDOCS_2_WARNING": "1", **process.get("env", {})}
    return subprocess.Popen(
        command, cwd=checkout, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **process
    )


def build(checkout: Path, *options: str, **process: Any) -> tuple[int, str]:
    """The exit status of a build, and what it said."""
    building = start(checkout, *options, **process)
    said, _ = building.communicate(timeout=120)
    return building.returncode, said


def page(checkout: Path) -> str:
    return (checkout / "site/labs/counting/index.html").read_text(encoding="utf-8")


def runs(checkout: Path) -> int:
    return len((checkout / "runs").read_text().splitlines())


def entries(checkout: Path) -> list[Path]:
    return [path for path in (checkout / ".cache").rglob("*") if path.is_file()]


def test_a_lab_is_executed_again_only_when_what_it_reaches_changed(checkout: Path) -> None:
    for changed, expected in (
        (None, 1),
        ("actckpt/formulas/llama.py", 1),
        ("docs/book/components/figure.py", 1),
        ("actckpt/policy.py", 2),
        ("docs/labs/counting.py", 3),
        ("docs/book/jupyter/kernel.py", 4),
    ):
        if changed:
            with (checkout / changed).open("a", encoding="utf-8") as file:
                file.write("\n# a change\n")
        assert build(checkout)[0] == 0
        assert runs(checkout) == expected, changed
        assert len(entries(checkout)) == 1, "the older run is gone"


def test_a_build_leaves_nothing_outside_its_checkout(checkout: Path, tmp_path: Path) -> None:
    home, temporary = tmp_path / "home", tmp_path / ("long" * 40)
    for folder in (home, temporary):
        folder.mkdir()
    status, said = build(checkout, env={"HOME": str(home), "TMPDIR": str(temporary)})
    assert status == 0, said
    assert runs(checkout) == 1
    assert list(home.iterdir()) == list(temporary.iterdir()) == []
    assert [path.name for path in (checkout / ".cache").iterdir()] == ["labs"], "the kernel's folder is gone"


@pytest.mark.parametrize("quiet", [(), ("-q",)])
def test_a_cell_that_fails_fails_the_build_with_one_message(checkout: Path, quiet: tuple[str, ...]) -> None:
    write(checkout, COUNTING + "\n# %%\n1 / 0\n")
    status, said = build(checkout, *quiet)
    assert status == 1
    assert said.count("docs/labs/counting.py failed:") == 1
    assert said.count("ZeroDivisionError: division by zero") == 1
    assert "\x1b" not in said
    # a traceback of the cell, and none of what builds the site
    assert said.count("Traceback") == 1
    assert str(Path(sys.prefix)) not in said
    assert entries(checkout) == []


def of_another_lab(entry: bytes) -> bytes:
    return entry.replace(b"counting", b"other", 1)


@pytest.mark.parametrize(
    "damage",
    [
        lambda entry: entry[: len(entry) // 2],
        lambda entry: b"",
        lambda entry: b"\xff\xfe",
        lambda entry: b"[]",
        lambda entry: b'{"content": 42, "toc_tokens": [], "title": null}',
        lambda entry: entry.replace(b"toc_tokens", b"toc"),
        of_another_lab,
    ],
    ids=["half", "empty", "no text", "a list", "a number", "no contents", "another lab's"],
)
def test_an_entry_that_is_no_answer_is_made_again(checkout: Path, damage: Callable[[bytes], bytes]) -> None:
    build(checkout)
    (entry,) = entries(checkout)
    whole, shown = entry.read_bytes(), page(checkout)
    entry.write_bytes(damage(whole))
    status, said = build(checkout)
    assert status == 0, said
    assert runs(checkout) == 2
    assert entry.read_bytes() == whole
    assert page(checkout) == shown


def test_a_full_disk_is_one_message_and_leaves_nothing_for_good(checkout: Path) -> None:
    write(checkout, COUNTING + "\n# %%\nprint(100_000 * 'long ')\n")
    size = 200_000
    status, said = build(checkout, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)))
    assert status == 1
    assert said.count("docs/labs/counting.py failed:") == 1
    assert "File too large" in said
    assert "Traceback" not in said
    assert build(checkout)[0] == 0
    (entry,) = entries(checkout)
    assert entry.stat().st_size > size


@pytest.mark.parametrize("cell", ["time.sleep(100)", "while True: sum(range(10**7))"])
def test_an_interrupt_ends_the_build_and_its_kernel_at_once(checkout: Path, cell: str) -> None:
    write(checkout, COUNTING + f"\n# %%\nimport time\nPath('here').touch()\n{cell}\n")
    # where tests run in the background, interrupts are ignored, and whoever they start would ignore them, too
    heeded = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    building = start(checkout, "-q", start_new_session=True, preexec_fn=heeded)
    wait_for((checkout / "here").exists)
    kernels = psutil.Process(building.pid).children(recursive=True)
    assert kernels
    interrupted = time.monotonic()
    # as a terminal does, to all of its foreground
    os.killpg(building.pid, signal.SIGINT)
    said, _ = building.communicate(timeout=60)
    # it takes a quarter of a second; other tests run beside this one
    assert time.monotonic() - interrupted < 5
    assert building.returncode == 1
    assert said.strip() == "Aborted!"
    wait_for(lambda: not any(kernel.is_running() for kernel in kernels), seconds=5)
    assert entries(checkout) == []


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_what_a_killed_build_left_is_removed(checkout: Path) -> None:
    for name, age in (("kernel-killed", 2 * 3600), ("kernel-of-another-build", 0)):
        folder = checkout / ".cache" / name
        folder.mkdir(parents=True)
        os.utime(folder, (time.time() - age,) * 2)
    assert build(checkout)[0] == 0
    assert {path.name for path in (checkout / ".cache").iterdir()} == {"kernel-of-another-build", "labs"}


ODD = """
# %% [markdown]
# # Odd
#
# Less `&lt;b&gt;` than **more** and `{{ cells }}`.

# %%
import sys

import plotly.graph_objects as go
from IPython.display import HTML, Markdown

print("</script> &amp; <b> ``` \\\\n")
print("to the builder", file=sys.stderr)

# %%
print("one", flush=True)
print("two", flush=True)

# %%
Markdown("- `a < b`\\n- **c** & d")

# %%
HTML('<p class="own">&lt;own&gt;</p>')

# %%
{"</pre>": "&amp;"}

# %% name="odd" made_by="odd(x)" test="file::test" caption="A line." assumes="Nothing </script> & all."
go.Figure(go.Scatter(x=[1], y=[2], name="</script>&lt;")).update_layout(
    title="A < B </script>", height=100, xaxis_title="x & y", yaxis_title="</td>"
)
"""


def test_whatever_a_cell_gives_is_shown_as_it_is(checkout: Path) -> None:
    write(checkout, ODD)
    status, said = build(checkout)
    assert status == 0, said
    shown = page(checkout)
    article = shown[shown.index("<article") : shown.index("</article>")]
    assert (
        "<p>Less <code>&amp;lt;b&amp;gt;</code> than <strong>more</strong> and <code>{{ cells }}</code>.</p>" in article
    )
    assert '<pre class="ac-printed"><output>&lt;/script&gt; &amp;amp; &lt;b&gt; ``` \\n</output></pre>' in article
    assert '<pre class="ac-printed"><output>one\ntwo</output></pre>' in article, "whatever the messages it came in"
    assert "to the builder" not in re.sub(r"<code>.*?</code>", "", article, flags=re.DOTALL)
    assert re.search(
        r'<output class="ac-shown"><ul>\s*<li><code>a &lt; b</code></li>\s*<li><strong>c</strong> &amp; d</li>', article
    )
    assert '<p class="own">&lt;own&gt;</p>' in article
    assert '<pre class="ac-printed"><output>{&#39;&lt;/pre&gt;&#39;: &#39;&amp;amp;&#39;}</output></pre>' in article
    (island,) = ISLAND.findall(article)
    (trace,) = json.loads(island)["data"]
    assert trace["name"] == "</script>&lt;"
    assert "Nothing &lt;/script&gt; &amp; all." in article
