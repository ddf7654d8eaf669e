"""Labs: the notebooks of docs/labs, executed when the site is built, and again only when something they run changed.

An executed notebook is kept under .cache/labs, by a key of all that it depends on. So a formula that a lab does not
reach may change without the lab being executed again.
"""

from __future__ import annotations

import os
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import closure
import jupytext
import nbformat
from jupyter_client import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError as CellExecutionError
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parent.parent
LABS, CACHE = ROOT / "docs/labs", ROOT / ".cache/labs"
# the longest that one cell may take
TIMEOUT_S = 300


def start() -> dict[str, Future[NotebookNode]]:
    """Every lab by its name; those that have to be executed are, while the rest of the site is built."""
    pool = ThreadPoolExecutor()
    try:
        return {lab.stem: begin(lab, pool) for lab in sorted(LABS.glob("*.py"))}
    finally:
        pool.shutdown(wait=False)


def begin(lab: Path, pool: Executor) -> Future[NotebookNode]:
    """The lab with its outputs: from the cache where nothing that it runs has changed, or executed in `pool`.

    Its result raises CellExecutionError where a cell failed.
    """
    # read here, and not in the pool: Python 3.11 cannot parse in two threads at once
    stored = CACHE / f"{lab.stem}-{closure.key(lab, runner=Path(__file__))}.ipynb"
    if not stored.is_file():
        return pool.submit(_execute, jupytext.read(lab), lab.stem, stored)
    kept: Future[NotebookNode] = Future()
    kept.set_result(nbformat.read(stored, as_version=4))
    return kept


def _execute(notebook: NotebookNode, name: str, stored: Path) -> NotebookNode:
    executed = _run(notebook)
    CACHE.mkdir(parents=True, exist_ok=True)
    for stale in CACHE.glob(f"{name}-*.ipynb"):
        stale.unlink(missing_ok=True)
    # another build may be writing the same file
    unfinished = stored.with_suffix(f".{os.getpid()}")
    nbformat.write(executed, unfinished)
    unfinished.replace(stored)
    return executed


def _run(notebook: NotebookNode) -> NotebookNode:
    """The notebook with its outputs, executed in a process of its own that imports from this checkout."""
    with TemporaryDirectory() as folder:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", ""))).rstrip(os.pathsep),
            # nothing is read from or written to the user's own settings
            "IPYTHONDIR": folder,
            # a figure leaves its data, which the page draws
            "PLOTLY_RENDERER": "plotly_mimetype",
        }
        manager = AsyncKernelManager(transport="ipc", ip=f"{folder}/socket", connection_file=f"{folder}/kernel.json")
        client = NotebookClient(notebook, km=manager, timeout=TIMEOUT_S, shutdown_kernel="immediate")
        return client.execute(cleanup_kc=True, env=environment, cwd=str(ROOT))
