"""The blocks of "Command line" and "API": from the parser, from answers that are printed here, and from the modules."""

from __future__ import annotations

import argparse
import ast
import io
import json
import re
import shlex
import textwrap
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from html import escape
from pathlib import Path
from typing import Any

import actckpt
from actckpt import ACCELERATORS, ACCOUNTINGS, POLICIES, PRESETS, cli

PACKAGE = Path(actckpt.__file__).parent

EXAMPLES = {
    "estimate": "estimate --model llama-3.1-8b --seq-len 16384 --policy ffn",
    "measure": "measure --model llama-3.1-8b --seq-len 4096 --policy full",
    "models": "models",
    "policies": "policies",
    "accelerators": "accelerators",
}
WRONG = (
    "estimate --model llama-3.1-8 --seq-len 4096",
    "estimate --model llama-3.1-8b --seq-len 0",
    "estimate --model llama-3.1-8b --seq-len 4096 --policy pointwise --accounting paper",
)
STATUSES = {
    0: "The answer is on standard output.",
    1: "The answer could not be written: the disk is full, or the reader of a pipe has gone.",
    2: "The question cannot be answered: one line on standard error says why.",
}
FIELDS = {
    "model": "The model's name.",
    "seq_len": "S, in tokens.",
    "batch_size": "B, in sequences.",
    "accounting": "What was asked for, or `measured`.",
    "attention": "`flash` or `eager`.",
    "policy": "What is recomputed.",
    "activations.per_layer_bytes": "What one block saves: one that the policy checkpoints, where it leaves some alone.",
    "activations.total_bytes": "What all blocks save.",
    "activations.by_component": "The same, split into components that add up to it.",
    "activations.terms": "One block's saved tensors: name, component, bytes, shape, dtype.",
    "head.saved_bytes": "What the final norm, the output projection and the loss save.",
    "head.flops": "What they compute in a step.",
    "states.parameters_bytes": "The parameters, on a rank that holds them all.",
    "states.gradients_bytes": "Their gradients.",
    "states.optimizer_bytes": "Adam's moments.",
    "peak_bytes": "The most that is in use at any moment of the step.",
    "flops.forward": "FLOPs of the blocks, forward.",
    "flops.backward": "FLOPs of the blocks, backward, without what is recomputed.",
    "flops.recompute": "FLOPs of the blocks that are recomputed.",
    "flops.overhead": "The recomputed ones, as a share of the other two together.",
}


def commands() -> str:
    """Every command: what it does, its usage, its options, and what it prints."""
    return "\n\n".join(_command(name, parser, words) for name, parser, words in _subparsers())


def _subparsers() -> Iterator[tuple[str, argparse.ArgumentParser, str]]:
    parser = cli.make_parser()
    (action,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    words = {choice.dest: choice.help or "" for choice in action._choices_actions}
    for name, subparser in action.choices.items():
        yield name, subparser, words[name]


def _command(name: str, parser: argparse.ArgumentParser, words: str) -> str:
    # what is said of a registry ends in how many it has
    what, _, count = words.partition(": ")
    number = f": {_mark(count)}" if count else ""
    return "\n\n".join(
        (
            f"## {name} {{ #{name} }}",
            f"{what[0].upper()}{what[1:]}{number}.",
            f"``` {{ .text .ac-usage }}\n{_usage(parser)}\n```",
            _options(parser),
            _printed(EXAMPLES[name]),
        )
    )


def _usage(parser: argparse.ArgumentParser) -> str:
    usage = " ".join(parser.format_usage().removeprefix("usage:").split())
    # an option and its value stay on one line
    whole = re.sub(r"[\[(][^\])]*[\])]|--[\w-]+ \w+", lambda match: match[0].replace(" ", "\u00a0"), usage)
    lines = textwrap.wrap(whole, 80, subsequent_indent=" " * (len(parser.prog) + 1), break_on_hyphens=False)
    return "\n".join(lines).replace("\u00a0", " ")


def _options(parser: argparse.ArgumentParser) -> str:
    groups = {id(action): group for group in parser._mutually_exclusive_groups for action in group._group_actions}
    rows = "".join(
        f"<tr><td><code>{escape(_option(action))}</code></td><td>{_needed(action, groups.get(id(action)))}</td>"
        f"<td>{_code(action.help or '')}</td></tr>"
        for action in parser._actions
        if not isinstance(action, argparse._HelpAction)
    )
    return (
        f'<div class="ac-table ac-words-table" tabindex="0" role="region" aria-label="Options of {parser.prog}">'
        '<table class="ac-numbers"><thead><tr><th scope="col">option</th><th scope="col">needed?</th>'
        f'<th scope="col">what it says</th></tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _option(action: argparse.Action) -> str:
    return " ".join(filter(None, (*action.option_strings, str(action.metavar or ""))))


def _needed(action: argparse.Action, group: Any) -> str:
    if group is not None and group.required:
        return "one of " + ", ".join(f"<code>{one.option_strings[0]}</code>" for one in group._group_actions)
    return "needed" if action.required else "optional"


def _code(words: str) -> str:
    parts = escape(words).split("`")
    return "".join(f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts))


def run(line: str) -> tuple[int, str, str]:
    """The exit status of a command, and what it prints to standard output and standard error."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = cli.main(shlex.split(line))
    return status, out.getvalue(), err.getvalue()


def _printed(line: str) -> str:
    _, out, _ = run(line)
    return _session(line, out)


def _session(line: str, printed: str) -> str:
    return (
        f'<pre class="ac-session" tabindex="0"><code>$ actckpt {escape(line)}</code>\n'
        f"<output>{escape(printed.rstrip())}</output></pre>"
    )


def fields() -> str:
    """The fields of the JSON object, each with what it holds."""
    answer = json.loads(run(EXAMPLES["estimate"] + " --json")[1])
    rows = "".join(
        f"<tr><td><code>{name}</code></td><td>{_type(_at(answer, name))}</td><td>{_code(words)}</td></tr>"
        for name, words in FIELDS.items()
    )
    return (
        '<div class="ac-table ac-words-table" tabindex="0" role="region" aria-label="Fields of the JSON object">'
        '<table class="ac-numbers"><thead><tr><th scope="col">field</th><th scope="col">type</th>'
        f'<th scope="col">what it holds</th></tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _at(answer: Any, name: str) -> Any:
    for key in name.split("."):
        answer = answer[key]
    return answer


def _type(value: Any) -> str:
    return {str: "text", int: "whole number", float: "number", dict: "object", list: "list"}[type(value)]


def json_example() -> str:
    """A whole answer, folded."""
    line = EXAMPLES["estimate"] + " --json"
    return f'<details class="ac-data"><summary>A whole answer</summary>{_session(line, run(line)[1])}</details>'


def statuses() -> str:
    """The exit statuses."""
    rows = "".join(f"<tr><td><code>{status}</code></td><td>{words}</td></tr>" for status, words in STATUSES.items())
    return (
        '<div class="ac-table ac-words-table" tabindex="0" role="region" aria-label="Exit statuses">'
        '<table class="ac-numbers"><thead><tr><th scope="col">status</th><th scope="col">what it means</th></tr>'
        f"</thead><tbody>{rows}</tbody></table></div>"
    )


def refusals() -> str:
    """What some wrong questions are answered with."""
    shown = []
    for line in WRONG:
        status, _, err = run(line)
        shown.append(f"$ actckpt {line}\n{err.rstrip()}\n$ echo $?\n{status}")
    return f'<pre class="ac-session ac-session--wrapped"><output>{escape(chr(10).join(shown))}</output></pre>'


def registries() -> str:
    """What is known by name, with its keys."""
    known = {
        "PRESETS": ("models, each a `ModelConfig`", PRESETS),
        "POLICIES": ("policies, each a `Policy`; `every_N` for any other N is a name too", POLICIES),
        "ACCELERATORS": ("accelerators, each an `Accelerator`", ACCELERATORS),
        "ACCOUNTINGS": ("accountings, each an `Accounting`", ACCOUNTINGS),
    }
    return "\n".join(
        f"- `{name}`: {words}. Its {_mark(len(entries))} keys are {', '.join(f'`{key}`' for key in entries)}."
        for name, (words, entries) in known.items()
    )


def charts() -> str:
    """Every function that returns a figure, by module, with what its docstring says first."""
    return "\n".join(
        f"- `{module.stem}.{function.name}({', '.join(arg.arg for arg in function.args.args)})`: {_summary(function)}"
        for module in sorted((PACKAGE / "figures").glob("*.py"))
        for function in ast.parse(module.read_text(encoding="utf-8")).body
        if isinstance(function, ast.FunctionDef) and not function.name.startswith("_") and _returns_figure(function)
    )


def _returns_figure(function: ast.FunctionDef) -> bool:
    return function.returns is not None and ast.unparse(function.returns) == "go.Figure"


def _summary(function: ast.FunctionDef) -> str:
    return " ".join((ast.get_docstring(function) or "").partition("\n\n")[0].split())


def _mark(number: Any) -> str:
    return f'<span class="ac-n">{number}</span>'
