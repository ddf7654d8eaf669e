"""Templates: what turns values into HTML. Whatever is no HTML is escaped, and a name that is missing is an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from actckpt.hardware import GIB
from book.quantities import text

_ENVIRONMENT = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(template: str, **values: Any) -> Markup:
    """A template of this folder, filled. Its line ends go, so that Markdown takes it as one block of HTML."""
    made = _ENVIRONMENT.get_template(f"{template}.html").render(values)
    return Markup("".join(line.strip() if line.lstrip().startswith("<") else line for line in made.splitlines()))


def html(source: str, /, **values: Any) -> Markup:
    """A piece of HTML, filled: `html("<b>{{ words }}</b>", words="a < b")`."""
    return Markup(_ENVIRONMENT.from_string(source).render(values))


def mark(number: str) -> Markup:
    """A number in prose that was computed, marked as such, with six digits of what it rounds."""
    if not isinstance(number, text.Written):
        return Markup('<span class="ac-n">{}</span>').format(number)
    rounds = " ".join(f"{value:.6g}" for value in number.values)
    return Markup('<span class="ac-n" data-rounds="{}">{}</span>').format(rounds, number)


def swatch(part: str) -> Markup:
    """The colour of a part, before its name."""
    return Markup('<i class="ac-swatch ac-{}"></i>').format(part)


def code(words: str) -> Markup:
    return Markup("<code>{}</code>").format(words)


def data(n_bytes: int, words: str, part: str = "") -> Markup:
    """Bytes as they are written, with the exact number for whoever wants it."""
    attribute = Markup(' data-part="{}"').format(part) if part else ""
    return Markup('<data value="{}" title="{:,} bytes"{}>{}</data>').format(n_bytes, n_bytes, attribute, words)


def exact(n_bytes: int, part: str = "") -> Markup:
    """Bytes in GiB."""
    return data(n_bytes, text.gib(n_bytes, 1), part)


def gib_cell(n_bytes: float, digits: int = 2) -> str:
    """Bytes in GiB under a heading that names the unit."""
    return text.fixed(n_bytes / GIB, digits)
