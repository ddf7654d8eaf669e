"""What the outcome of some code depends on, as a key under which that outcome may be kept.

The key is made of the source of every file of the package, and of scripts/gpu, that the code can reach through imports,
and of the versions of what it runs on. A change in a file that is not reached leaves the key as it is; a change in one
that is does not.
"""

from __future__ import annotations

import ast
import hashlib
import platform
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "actckpt"
# what imports are followed into, and the folder that each lies in
FOLLOWED = {PACKAGE: ".", "gpu": "scripts"}
RUNS_ON = (
    "torch",
    "triton",
    "numpy",
    "plotly",
    "ipykernel",
    "ipython",
    "jupytext",
    "mkdocs-jupyter",
    "nbclient",
    "nbconvert",
)


def key(code: Path, root: Path = ROOT, runners: Iterable[Path] = ()) -> str:
    """What the outcome of a file of code, and of those that run it, depends on, as a short hash."""
    digest = hashlib.sha256(repr((platform.python_version(), platform.machine())).encode())
    for package in RUNS_ON:
        digest.update(f"{package} {_version(package)}\n".encode())
    for source in (code, *sources(code, root), *sorted(runners)):
        digest.update(source.name.encode() + source.read_bytes())
    return digest.hexdigest()[:16]


def sources(code: Path, root: Path = ROOT) -> list[Path]:
    """Every file that code can reach through imports, at the top of a module or inside a function."""
    reached: set[Path] = set()
    to_read = [code]
    while to_read:
        found = set(_imported(to_read.pop(), root)) - reached
        reached |= found
        # the package's own __init__ offers names from all over the package: `_imported` follows those that are used
        to_read += found - {root / PACKAGE / "__init__.py"}
    return sorted(reached)


def _imported(file: Path, root: Path) -> Iterator[Path]:
    # A name taken from the package's own __init__ leads to the module that defines the name; where the package as a
    # whole is imported, any of its names may be used.
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
    """What importing a module executes: the packages that it is in, and itself where it is a module."""
    parts = module.split(".")
    if parts[0] not in FOLLOWED:
        return
    for end in range(1, len(parts) + 1):
        path = root.joinpath(FOLLOWED[parts[0]], *parts[:end])
        yield from (file for file in (path / "__init__.py", path.with_suffix(".py")) if file.is_file())


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
