"""What MkDocs does before and after it renders a page: fresh code, executed labs, typeset formulas, links."""

from __future__ import annotations

import base64
import hashlib
import html
import importlib
import logging
import os
import re
import sys
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File
from mkdocs.utils import get_relative_url

ROOT = Path(__file__).resolve().parent.parent

FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>([.,;:]?)', re.DOTALL)
# of the theme's script: where a page is no file, it loads the search index, which is large, along with the page
INDEX = '(location.protocol!=="file:"),', "(!1),"
# navigation to screen readers, and one without a name beside every piece of code
COPY = 'x("nav",{class:"md-code__nav"})', 'x("div",{class:"md-code__nav"})'
DIALOG = 'role="dialog">', 'role="dialog" aria-label="Search">'
# explorer-drawing.js serves what has the class ac-explorer
SCRIPT = re.compile(r'<script [^>]*src="[^"]*assets/([a-z]+)[a-z-]*\.js" defer></script>\s*')
INLINE = re.compile(r"<script>(.*?)</script>", re.DOTALL)
LAB = re.compile(r"labs/[^/]+\.py")
COMMENT, SPACE = re.compile(r"/\*.*?\*/", re.DOTALL), re.compile(r"\s+")
SITE_LINK = re.compile(r'href="@/([^"]*)"')


class Noted(logging.Handler):
    """The warnings of a logger."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Note the warning."""
        self.messages.append(record.getMessage())


FAILED = Noted()


def on_startup(**_: Any) -> None:
    """Import from the checkout that is built, rather than from another one that may be installed.

    And note where a block of code fails. A quiet build counts its warnings too, so that a strict one ends at them.
    """
    log = logging.getLogger("mkdocs")
    log.setLevel(min(log.level, logging.WARNING))
    logging.getLogger("mkdocs.plugins.markdown_exec").addHandler(FAILED)
    sys.path[:0] = [str(ROOT), str(ROOT / "docs"), str(ROOT / "scripts")]
    # the template and the settings by which labs are executed, and none of the user's own
    os.environ.update(dict.fromkeys(("JUPYTER_PATH", "JUPYTER_CONFIG_DIR"), str(ROOT / "docs/book/jupyter")))


@event_priority(100)
def on_config(config: Any, **_: Any) -> Any:
    """Forget the package before anything imports it, so that `mkdocs serve` shows a formula as it is after an edit."""
    for name in [name for name in sys.modules if name.split(".")[0] in ("actckpt", "closure", "gpu", "kept", "book")]:
        del sys.modules[name]
    config.mdx_configs["abbr"] = {"glossary": importlib.import_module("book.chapters.glossary").tooltips()}
    return config


def on_files(files: Any, config: Any, **_: Any) -> Any:
    """Join the style sheets."""
    files.append(_one_sheet(config))
    return files


# before mkdocs-jupyter reads its options
@event_priority(50)
def on_pre_page(page: Any, config: Any, **_: Any) -> Any:
    """Say what a lab depends on, so that it is executed again when that changed."""
    if LAB.fullmatch(page.file.src_uri):
        lab = importlib.import_module("book.components.lab")
        lab.prepare(Path(page.file.abs_src_path), config.plugins["mkdocs-jupyter"].config)
    return page


def on_page_read_source(page: Any, **_: Any) -> str | None:
    """The executed lab, for its page."""
    if LAB.fullmatch(page.file.src_uri):
        return str(importlib.import_module("book.components.lab").source(page))
    return None


# before the macros
@event_priority(50)
def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Leave a lab as it is: its numbers are its own, and its braces are Python's."""
    if LAB.fullmatch(page.file.src_uri):
        page.meta["render_macros"] = False
    return markdown


def on_page_content(content: str, page: Any, **_: Any) -> str:
    """Typeset formulas as MathML, thin out tooltips, make links that start at the site's root relative to the page."""
    if FAILED.messages:
        # its traceback would stand on the page
        raise PluginError(f"{page.file.src_uri}: {FAILED.messages.pop()}")
    content = importlib.import_module("book.chapters.glossary").once(FORMULA.sub(_mathml, content))
    return SITE_LINK.sub(lambda match: f'href="{get_relative_url(match[1], page.url)}"', content)


def on_post_page(output: str, **_: Any) -> str:
    """Name the theme's search dialog, which screen readers announce; leave out the scripts of what a page lacks."""
    return SCRIPT.sub(lambda match: match[0] if f'class="ac-{match[1]}' in output else "", _replaced(output, *DIALOG))


def on_post_template(output_content: str, template_name: str, **_: Any) -> str:
    """The same on the page for missing pages."""
    return _replaced(output_content, *DIALOG) if template_name == "404.html" else output_content


def on_post_build(config: Any, **_: Any) -> None:
    """Leave no sitemap where the site's address is unknown, mend the theme's script, write what a server may allow."""
    if not config.site_url:
        # it would be empty
        for name in ("sitemap.xml", "sitemap.xml.gz"):
            Path(config.site_dir, name).unlink(missing_ok=True)
    bundles = list(Path(config.site_dir, "assets/javascripts").glob("bundle.*.min.js"))
    if len(bundles) != 1:
        raise PluginError(f"the theme has {len(bundles)} scripts named bundle.*.min.js, where there was one to mend")
    script = bundles[0].read_text(encoding="utf-8")
    for mend in (INDEX, COPY):
        script = _replaced(script, *mend)
    bundles[0].write_text(script, encoding="utf-8")
    Path(config.site_dir, "content-security-policy.txt").write_text(_policy(Path(config.site_dir)), encoding="utf-8")


def _replaced(theirs: str, old: str, mended: str) -> str:
    if old not in theirs:
        raise PluginError(f"the theme has no {old!r} any more, which scripts/mkdocs_hooks.py replaces by {mended!r}")
    return theirs.replace(old, mended, 1)


def _policy(site: Path) -> str:
    # the theme's inline scripts differ with the depth of a page: each is allowed by its hash, and nothing else inline
    inline = {script for page in site.rglob("*.html") for script in INLINE.findall(page.read_text(encoding="utf-8"))}
    hashes = sorted(base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in inline)
    allowed = "".join(f" 'sha256-{each}'" for each in hashes)
    return f"default-src 'self'; img-src 'self' data:; script-src 'self'{allowed}\n"


def _one_sheet(config: Any) -> File:
    # every sheet holds up the first paint, on a slow network by a round trip for every few of them
    files = [Path(config.docs_dir, name) for name in config.extra_css]
    # mkdocstrings names one of its own, which is not there: reference.css has what the API page needs
    sheets = [file.read_text(encoding="utf-8") for file in files if file.name != "_mkdocstrings.css"]
    config.extra_css = ["assets/actckpt.css"]
    content = SPACE.sub(" ", COMMENT.sub("", "\n".join(sheets)))
    return File.generated(config, config.extra_css[0], content=content)


def _mathml(match: re.Match[str]) -> str:
    latex, alone = html.unescape(match[2]).strip(), match[1] == "div"
    formula = str(convert(latex, display="block" if alone else "inline")) + match[3]
    if alone:
        # wider than a phone, it scrolls in itself
        return f'<div class="ac-display" tabindex="0" role="group" aria-label="Formula">{formula}</div>'
    # a line that broke between the two would begin with a full stop
    return f'<span class="ac-formula">{formula}</span>' if match[3] else formula
