"""The command line: `actckpt estimate`, `measure`, `models`, `policies` and `accelerators`.

An answer goes to standard output, as a table or as JSON. An error goes to standard error in one line, with exit
status 2.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from actckpt import __version__, report
from actckpt.arguments import ATTENTIONS
from actckpt.config import PRESETS, ModelConfig, get_config
from actckpt.errors import InputError, unknown
from actckpt.formulas import ACCOUNTINGS, estimate
from actckpt.hardware import ACCELERATORS
from actckpt.policy import POLICIES
from actckpt.states import OPTIMIZERS
from actckpt.step import Step

COMMANDS = ("estimate", "measure", "models", "policies", "accelerators")


class Parser(argparse.ArgumentParser):
    """A parser that takes options by their whole names, and reports what is wrong in one line as all else does."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        """Raise the message instead of printing a usage."""
        raise InputError(f"{' '.join(message.split())} (try {self.prog} --help)")

    def check_options(self, arguments: Sequence[str]) -> None:
        """Refuse an option that is unknown: argparse would first speak of one that is missing."""
        known = [option for option in self._option_string_actions if option.startswith("--")]
        for argument in arguments:
            option = argument.partition("=")[0]
            # a number may be negative, and is a value
            if re.match("--?[a-z]", option, re.IGNORECASE) and option not in self._option_string_actions:
                self.error(str(unknown("option", option, known)))


class CommandParser(Parser):
    """The parser of one command, to which the rest of the line belongs."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse, and leave nothing to the parser above, which would name its own help."""
        self.check_options(args)
        namespace, extra = super().parse_known_args(args, namespace)
        if extra:
            self.error(f"unexpected {' '.join(map(repr, extra))}: {self.prog} takes only options")
        return namespace, extra


def make_parser() -> Parser:
    """The parser of the whole command line; the site's reference page is made from it too."""
    parser = Parser(
        prog="actckpt",
        description="What activation checkpointing saves and what it costs.",
        epilog="for example: actckpt estimate --model llama-3.1-8b --seq-len 16384 --policy ffn",
    )
    parser.add_argument("--version", action="version", version=f"actckpt {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=CommandParser)

    def add(name: str, words: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=words, description=f"{words[0].upper()}{words[1:]}.")

    estimated = add("estimate", "one training step by the closed form")
    _add_step_options(estimated)
    estimated.add_argument(
        "--accounting", default="llama", help=f"{', '.join(ACCOUNTINGS)} (default: llama)", metavar="A"
    )
    measured = add("measure", "the same, measured on the real block on meta tensors")
    _add_step_options(measured)

    for name, what in (("models", PRESETS), ("policies", POLICIES), ("accelerators", ACCELERATORS)):
        listed = add(name, f"the {name} that are known by name: {len(what)}")
        listed.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser


def _add_step_options(parser: argparse.ArgumentParser) -> None:
    model = parser.add_mutually_exclusive_group(required=True)
    model.add_argument("--model", metavar="NAME", help="a model that `actckpt models` lists")
    model.add_argument("--hf-config", metavar="FILE", help="a Hugging Face config.json, or a folder with one")
    parser.add_argument("--seq-len", type=_whole, required=True, metavar="S", help="tokens in a sequence")
    parser.add_argument("--batch-size", type=_whole, default=1, metavar="B", help="sequences (default: 1)")
    parser.add_argument(
        "--policy",
        default="none",
        metavar="P",
        help="a policy that `actckpt policies` lists, or every_N for any N of at least 2 (default: none)",
    )
    parser.add_argument(
        "--attention", metavar="|".join(ATTENTIONS), help="default: flash; eager where the accounting has no other"
    )
    parser.add_argument(
        "--data-parallel",
        type=_whole,
        default=1,
        metavar="N",
        help="ranks that share parameters, gradients and optimizer (default: 1)",
    )
    parser.add_argument(
        "--optimizer", default="adam-fp32", metavar="O", help=f"{', '.join(OPTIMIZERS)} (default: adam-fp32)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number: give one of at least 1, in digits") from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    try:
        answer = _answer(_parse(sys.argv[1:] if arguments is None else arguments))
    except (InputError, ModuleNotFoundError) as error:
        print(f"actckpt: {error}", file=sys.stderr)
        return 2
    if isinstance(sys.stdout, io.TextIOWrapper):
        # a terminal without the sign for "times" still gets its table
        sys.stdout.reconfigure(errors="replace")
    try:
        print(answer)
        sys.stdout.flush()
    except BrokenPipeError:
        # the reader has what it wanted; nothing is left to flush at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        print(f"actckpt: cannot write the answer: {error.strerror}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    if arguments and not arguments[0].startswith("-") and arguments[0] not in COMMANDS:
        raise unknown("command", arguments[0], COMMANDS)
    parser = make_parser()
    parser.check_options(arguments[:1])
    return parser.parse_args(arguments)


def _answer(options: argparse.Namespace) -> str:
    if options.command in ("estimate", "measure"):
        step = _step(options)
        return json.dumps(step.to_dict(), indent=2) if options.json else report.step_table(step)
    rows, table = {
        "models": (report.model_rows, report.model_table),
        "policies": (report.policy_rows, report.policy_table),
        "accelerators": (report.accelerator_rows, report.accelerator_table),
    }[options.command]
    return json.dumps(rows(), indent=2, ensure_ascii=False) if options.json else table()


def _step(options: argparse.Namespace) -> Step[int]:
    config = get_config(options.model) if options.hf_config is None else ModelConfig.from_hf(options.hf_config)
    chosen: dict[str, Any] = {
        "seq_len": options.seq_len,
        "batch_size": options.batch_size,
        "policy": options.policy,
        "data_parallel": options.data_parallel,
        "optimizer": options.optimizer,
    }
    if options.attention is not None:
        chosen["attention"] = options.attention
    if options.command == "estimate":
        return estimate(config, accounting=options.accounting, **chosen)
    from actckpt import measure

    return measure(config, **chosen)
