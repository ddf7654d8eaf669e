"""What the hooks replace in the theme: it is replaced in the built site, and the build ends where it is not there."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import mkdocs_hooks
import pytest
from bs4 import BeautifulSoup
from mkdocs.exceptions import PluginError

pytest_plugins = ["built_site"]

ROOT = Path(__file__).resolve().parent.parent

(AT_ONCE, ON_SEARCH), (LANDMARK, PLAIN) = mkdocs_hooks.INDEX, mkdocs_hooks.COPY


def finish(site: Path, *bundles: str) -> list[str]:
    """What the hook makes of a site that has these scripts of the theme."""
    folder = site / "assets/javascripts"
    folder.mkdir(parents=True)
    files = [folder / f"bundle.{number}.min.js" for number, _ in enumerate(bundles)]
    for file, script in zip(files, bundles, strict=True):
        file.write_text(script, encoding="utf-8")
    mkdocs_hooks.on_post_build(SimpleNamespace(site_url="https://example.org/", site_dir=str(site)))
    return [file.read_text(encoding="utf-8") for file in files]


def test_the_themes_script_is_mended(tmp_path: Path, site: Path) -> None:
    assert finish(tmp_path, f"before{AT_ONCE}then{LANDMARK}after") == [f"before{ON_SEARCH}then{PLAIN}after"]
    (bundle,) = (site / "assets/javascripts").glob("bundle.*.min.js")
    script = bundle.read_text(encoding="utf-8")
    assert AT_ONCE not in script
    assert LANDMARK not in script


@pytest.mark.parametrize("bundles", [(), ("another script",), (AT_ONCE,), (LANDMARK,), (AT_ONCE + LANDMARK,) * 2])
def test_a_theme_with_another_script_ends_the_build(tmp_path: Path, bundles: tuple[str, ...]) -> None:
    with pytest.raises(PluginError, match="the theme has"):
        finish(tmp_path, *bundles)


def test_the_search_dialog_has_a_name_on_every_page(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert site / "404.html" in pages
    for page in pages:
        (dialog,) = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser").select("[data-md-component=search]")
        assert (dialog["role"], dialog["aria-label"]) == ("dialog", "Search"), page


def test_a_theme_without_a_search_dialog_ends_the_build() -> None:
    with pytest.raises(PluginError, match="dialog"):
        mkdocs_hooks.on_post_page("<html></html>")
    with pytest.raises(PluginError, match="dialog"):
        mkdocs_hooks.on_post_template("<html></html>", template_name="404.html")
    assert mkdocs_hooks.on_post_template("<xml/>", template_name="sitemap.xml") == "<xml/>"


@pytest.mark.parametrize("quiet", [[], ["--quiet"]])
@pytest.mark.parametrize(
    ("page", "reason"),
    [
        ("```python exec='on'\nraise ValueError('a formula is missing')\n```\n", "a formula is missing"),
        ("[a link](missing.md)\n", "missing.md"),
    ],
)
def test_a_page_that_fails_ends_the_build(tmp_path: Path, page: str, reason: str, quiet: list[str]) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/index.md").write_text(page, encoding="utf-8")
    settings = {
        "site_name": "one page",
        "hooks": [str(ROOT / "scripts/mkdocs_hooks.py")],
        "plugins": ["markdown-exec"],
        "markdown_extensions": ["abbr", "pymdownx.superfences"],
    }
    (tmp_path / "mkdocs.yml").write_text(json.dumps(settings), encoding="utf-8")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", *quiet]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "index.md" in done.stderr
    assert reason in done.stderr
