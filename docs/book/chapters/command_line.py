"""The blocks of "Command line": what `actckpt` prints when it is asked, as this page is built."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
from contextlib import redirect_stderr, redirect_stdout
from functools import reduce
from operator import getitem
from unittest.mock import patch

from markupsafe import Markup, escape

from actckpt import cli
from book.components.table import table
from book.components.template import code, html

EXAMPLES = {
    "estimate": "estimate --model llama-3.1-8b --seq-len 16384 --policy ffn --data-parallel 8",
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
    1: "The answer could not be written: the disk is full, or the reader of the pipe is gone.",
    2: "The question cannot be answered: one line on standard error says why.",
}
FIELDS = {
    "model": "The model's name.",
    "seq_len": "S, in tokens.",
    "batch_size": "B, in sequences.",
    "accounting": "What was asked for, or `measured`.",
    "attention": "`flash` or `eager`.",
    "policy": "What is recomputed.",
    "activations.per_layer_bytes": "What one block saves. If the policy checkpoints only some blocks, one of those.",
    "activations.total_bytes": "What all blocks save.",
    "activations.by_component": "The same, split into components. They add up to it.",
    "activations.terms": "The saved tensors of one block: name, component, bytes, shape, dtype.",
    "head.saved_bytes": "What the final norm, the output projection and the loss save.",
    "head.flops": "What they compute in a step.",
    "states.parameters_bytes": "The parameters, as one rank holds them.",
    "states.gradients_bytes": "Their gradients.",
    "states.optimizer_bytes": "What the optimizer keeps beside them.",
    "peak_bytes": "The most that is in use at any moment of the step.",
    "flops.forward": "FLOPs of the blocks, forward.",
    "flops.backward": "FLOPs of the blocks, backward, without what is recomputed.",
    "flops.recompute": "FLOPs of the blocks that are recomputed.",
    "flops.overhead": "`flops.recompute` divided by the sum of forward and backward.",
}


TYPES = {str: "text", int: "whole number", float: "number", dict: "object", list: "list"}


def run(line: str) -> tuple[int, str, str]:
    """The exit status of a command, and what it prints to standard output and standard error."""
    out, err = io.StringIO(), io.StringIO()
    # as in a terminal of 80 columns
    with redirect_stdout(out), redirect_stderr(err), patch.dict(os.environ, COLUMNS="80"):
        try:
            status = cli.main(shlex.split(line))
        except SystemExit as leaves:
            # --help does
            status = int(leaves.code or 0)
    return status, out.getvalue(), err.getvalue()


def commands() -> str:
    """Every command: what its help says, and what an example prints."""
    return "\n\n".join(
        f"## {name} {{ #{name} }}\n\n{session(f'{name} --help')}\n\n{session(EXAMPLES[name])}" for name in cli.COMMANDS
    )


def session(line: str) -> Markup:
    """A command, and what it prints."""
    return html(
        '<pre class="ac-session" tabindex="0"><code>$ actckpt {{ line }}</code>\n<output>{{ out }}</output></pre>',
        line=line,
        out=run(line)[1].rstrip(),
    )


def fields() -> Markup:
    """The fields of the JSON object, each with what it holds."""
    answer = json.loads(run(EXAMPLES["estimate"] + " --json")[1])
    values = {name: reduce(getitem, name.split("."), answer) for name in FIELDS}
    rows = [
        (code(name), TYPES[type(values[name])], Markup(re.sub("`(.*?)`", r"<code>\1</code>", str(escape(words)))))
        for name, words in FIELDS.items()
    ]
    return table("Fields of the JSON object", ["field", "type", "what it holds"], rows, kind="words")


def json_example() -> Markup:
    """A whole answer, folded."""
    answer = session(EXAMPLES["estimate"] + " --json")
    return html('<details class="ac-data"><summary>A whole answer</summary>{{ answer }}</details>', answer=answer)


def statuses() -> Markup:
    rows = [(code(str(status)), words) for status, words in STATUSES.items()]
    return table("Exit statuses", ["status", "what it means"], rows, kind="words")


def refusals() -> Markup:
    """What some wrong questions are answered with."""
    answers = ((line, *run(line)) for line in WRONG)
    shown = "\n".join(f"$ actckpt {line}\n{err.rstrip()}\n$ echo $?\n{status}" for line, status, _, err in answers)
    return html('<pre class="ac-session ac-session--wrapped"><output>{{ shown }}</output></pre>', shown=shown)
