"""Which part of the package and of the site imports which, read from the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
# a part is a module or a package inside one of these
HOMES = {"actckpt": ROOT / "actckpt", "book": ROOT / "docs/book"}


@cache
def parts() -> dict[str, tuple[Path, ...]]:
    """Every part, as "actckpt.formulas", with its files."""
    return {
        f"{home}.{entry.stem}": tuple(sorted(entry.rglob("*.py"))) or (entry,)
        for home, folder in HOMES.items()
        for entry in sorted(folder.iterdir())
        if not entry.name.startswith("__") and (entry.suffix == ".py" or (entry / "__init__.py").is_file())
    }


@cache
def graph() -> dict[str, frozenset[str]]:
    """Every part with those that it imports, at its top or inside a function."""
    return {
        part: frozenset(_part(name) for file in files for name in _imported(file)) & parts().keys() - {part}
        for part, files in parts().items()
    }


@cache
def needs(part: str) -> frozenset[str]:
    """All that a part imports, and what that imports."""
    return graph()[part].union(*map(needs, graph()[part]))


def directly(part: str) -> list[str]:
    """What a part imports, but for what it has through another import anyway."""
    return sorted(graph()[part] - frozenset().union(*map(needs, graph()[part])))


@cache
def height(part: str) -> int:
    """How many imports lie below a part, one on the other: none of its own imports is as high."""
    return 1 + max(map(height, graph()[part]), default=-1)


def _imported(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def _public() -> dict[str, str]:
    # "from actckpt import estimate" names what the package takes from a part of it
    names = _imported(HOMES["actckpt"] / "__init__.py")
    return {f"actckpt.{name.rpartition('.')[2]}": name for name in names if name.startswith("actckpt.")}


def _part(name: str) -> str:
    return ".".join(_public().get(name, name).split(".")[:2])
