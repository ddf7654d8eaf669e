"""Labs: the notebooks of docs/labs, executed when the site is built, and again only when something they run changed.

An executed notebook is kept under .cache/labs by a key: the lab's source, the source of every module of this checkout
that it can reach through imports, and the versions of what they run on. So a formula that a lab does not reach may
change without the lab being executed again, and nothing that it does reach may.
"""

from __future__ import annotations

import ast
import hashlib
import os
import platform
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory

import jupytext
import nbformat
from jupyter_client import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError as CellExecutionError
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parent.parent
LABS, CACHE = ROOT / "docs/labs", ROOT / ".cache/labs"
PACKAGE = "actckpt"
RUNS_ON = ("torch", "triton", "numpy", "plotly", "ipykernel", "ipython", "jupytext", "nbclient")
# the longest that one cell may take
TIMEOUT_S = 300


def start() -> dict[str, Future[NotebookNode]]:
    """Every lab by its name, being executed while the rest of the site is built."""
    pool = ThreadPoolExecutor()
    try:
        return {lab.stem: pool.submit(executed, lab) for lab in sorted(LABS.glob("*.py"))}
    finally:
        pool.shutdown(wait=False)


def executed(lab: Path) -> NotebookNode:
    """The lab with its outputs: from the cache where nothing that it runs has changed, or executed now.

    Raises:
        CellExecutionError: A cell failed.
    """
    stored = CACHE / f"{lab.stem}-{key(lab)}.ipynb"
    if stored.is_file():
        return nbformat.read(stored, as_version=4)
    notebook = execute(lab)
    CACHE.mkdir(parents=True, exist_ok=True)
    for stale in CACHE.glob(f"{lab.stem}-*.ipynb"):
        stale.unlink(missing_ok=True)
    # another build may be writing the same file
    unfinished = stored.with_suffix(f".{os.getpid()}")
    nbformat.write(notebook, unfinished)
    unfinished.replace(stored)
    return notebook


def execute(lab: Path) -> NotebookNode:
    """The lab with its outputs, executed in a process of its own that imports from this checkout."""
    notebook = jupytext.read(lab)
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


def key(lab: Path, root: Path = ROOT) -> str:
    """What the outputs of a lab depend on, as a short hash."""
    digest = hashlib.sha256(repr((platform.python_version(), platform.machine())).encode())
    for package in RUNS_ON:
        digest.update(f"{package} {_version(package)}\n".encode())
    for source in (lab, *sources(lab, root), Path(__file__)):
        digest.update(source.name.encode() + source.read_bytes())
    return digest.hexdigest()[:16]


def sources(lab: Path, root: Path = ROOT) -> list[Path]:
    """Every file of the package that a lab can reach through imports, at the top of a module or inside a function."""
    reached, to_read = {root / PACKAGE / "__init__.py"}, [lab]
    while to_read:
        found = set(_imported(to_read.pop(), root)) - reached
        reached |= found
        to_read += found
    return sorted(reached)


def _imported(file: Path, root: Path) -> Iterator[Path]:
    # The package's own __init__ is not followed: it offers names from all over the package. A name taken from it leads
    # to the module that defines the name; where the package as a whole is imported, any of its names may be used.
    exported = _exported(root)
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            if node.module == PACKAGE:
                names += [exported[alias.name] for alias in node.names if alias.name in exported]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
            if PACKAGE in names:
                names += exported.values()
        else:
            continue
        for name in names:
            yield from _files(name, root)


def _exported(root: Path) -> dict[str, str]:
    """The names that the package's `__init__` offers, each with the module that it comes from."""
    tree = ast.parse((root / PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    return {
        alias.name: str(node.module)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def _files(module: str, root: Path) -> Iterator[Path]:
    """What importing a module of the package executes: the packages that it is in, and itself where it is a module."""
    parts = module.split(".")
    if parts[0] != PACKAGE:
        return
    for end in range(2, len(parts) + 1):
        path = root.joinpath(*parts[:end])
        yield from (file for file in (path / "__init__.py", path.with_suffix(".py")) if file.is_file())


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
