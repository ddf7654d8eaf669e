"""The blocks of "API": what is known by name, and the charts."""

from __future__ import annotations

import ast
from collections.abc import Collection
from pathlib import Path

import actckpt
from actckpt import ACCELERATORS, ACCOUNTINGS, OPTIMIZERS, POLICIES, PRESETS
from book.components.template import mark

FIGURES = Path(actckpt.__file__).parent / "figures"


def registries() -> str:
    """What is known by name, with its keys."""
    known: dict[str, tuple[str, Collection[str]]] = {
        "PRESETS": ("models, each a `ModelConfig`", PRESETS),
        "POLICIES": ("policies, each a `Policy`; `every_N` for any other N is a name too", POLICIES),
        "ACCELERATORS": ("accelerators, each an `Accelerator`", ACCELERATORS),
        "ACCOUNTINGS": ("accountings, each an `Accounting`", ACCOUNTINGS),
        "OPTIMIZERS": ("ways to keep the states, each an `Optimizer`", OPTIMIZERS),
    }
    return "\n".join(
        f"- `{name}`: {words}. Its {mark(str(len(keys)))} keys are {', '.join(f'`{key}`' for key in keys)}."
        for name, (words, keys) in known.items()
    )


def charts() -> str:
    """Every function that returns a figure, by module, with what its docstring says first."""
    return "\n".join(
        f"- `{module.stem}.{function.name}({', '.join(arg.arg for arg in function.args.args)})`: {_summary(function)}"
        for module in sorted(FIGURES.glob("*.py"))
        for function in ast.parse(module.read_text(encoding="utf-8")).body
        if isinstance(function, ast.FunctionDef) and function.returns and ast.unparse(function.returns) == "go.Figure"
        if not function.name.startswith("_")
    )


def _summary(function: ast.FunctionDef) -> str:
    return " ".join((ast.get_docstring(function) or "").partition("\n\n")[0].split())
