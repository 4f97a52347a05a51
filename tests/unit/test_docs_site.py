"""The documentation site has every page in its navigation, and its links work as on GitHub."""

from __future__ import annotations

import importlib
import inspect
import logging
import re
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import celeriac
import celeriac.testing
from devtools import docs_site

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
CONFIG = {"docs_dir": str(DOCS), "repo_url": "https://example.com/celeriac"}


def documented() -> list[str]:
    """The names on the pages of the Python API."""
    pages = sorted((DOCS / "reference" / "api").glob("*.md"))
    return [name for page in pages for name in re.findall(r"^::: (\S+)$", page.read_text(), re.M)]


def resolve(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def rendered(markdown: str, source: str = "how-to/deploy.md") -> str:
    page = SimpleNamespace(file=SimpleNamespace(src_uri=source), meta={})
    return docs_site.on_page_markdown(markdown, page=page, config=CONFIG)


def pages_of(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    below = nav.values() if isinstance(nav, dict) else nav
    return [page for entry in below for page in pages_of(entry)]


def test_the_navigation_has_every_page_once() -> None:
    nav = docs_site.on_config(dict(CONFIG))["nav"]
    pages = [str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")]
    assert sorted(pages_of(nav)) == sorted(pages)
    assert [*map(next, map(iter, nav))] == ["Home", *docs_site.SECTIONS.values()]


def test_the_navigation_groups_pages_by_the_headings_of_the_index() -> None:
    index = (
        "See [b](how-to/b.md), [t](tutorial/t.md)\n## How\n### Run\n"
        "| [a](how-to/a.md), [b](how-to/b.md) |\n## What\n| [c](reference/c.md) |\n"
    )
    nav = docs_site.navigation(index, ["adr/0001-x.md"])
    assert {"How-to": [{"Run": ["how-to/a.md", "how-to/b.md"]}]} in nav
    assert {"Tutorial": ["tutorial/t.md"]} in nav
    assert {"Reference": ["reference/c.md"]} in nav
    assert {"Decisions": ["adr/0001-x.md"]} in nav


def test_a_link_out_of_docs_leads_to_the_repository() -> None:
    assert rendered("[s](../../SECURITY.md#reporting)") == (
        "[s](https://example.com/celeriac/blob/main/SECURITY.md#reporting)"
    )
    assert rendered("[s](../../src)") == "[s](https://example.com/celeriac/tree/main/src)"
    assert rendered("[r](../README.md)", "README.md") == (
        "[r](https://example.com/celeriac/blob/main/README.md)"
    )


def test_a_link_within_docs_and_code_stay_as_they_are() -> None:
    for same in ("[s](../reference/cli.md#lag)", "```md\n[s](../../SECURITY.md)\n```"):
        assert rendered(same) == same


def test_a_link_to_a_missing_file_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        rendered("[s](../../missing.md)")
    assert "links to missing.md, which does not exist" in caplog.text


def test_invisible_code_is_not_published() -> None:
    assert (
        rendered("a\n\n<!--- invisible-code-block: python\nassert 1 -> 1\n-->\n\nb") == "a\n\n\nb"
    )


@pytest.mark.parametrize("html", ["<p>- a</p>", "<p>```sh</p>", "<p>a\n| b | c |</p>"])
def test_text_that_is_not_rendered_is_a_warning(
    html: str, caplog: pytest.LogCaptureFixture
) -> None:
    page = SimpleNamespace(file=SimpleNamespace(src_uri="how-to/deploy.md"))
    with caplog.at_level(logging.WARNING):
        assert docs_site.on_page_content(html, page=page) == html
        assert docs_site.on_page_content(f"<pre>{html}</pre>", page=page)
    logged = [each for each in caplog.records if each.name == docs_site.logger.name]
    assert len(logged) == 1


@pytest.mark.parametrize("module", [celeriac, celeriac.testing], ids=lambda module: module.__name__)
def test_the_python_api_has_every_public_name_once(module: ModuleType) -> None:
    # `capture` is a function and its module
    names = [name.replace(".capture.capture", ".capture") for name in documented()]
    names = [name for name in names if name.rpartition(".")[0] == module.__name__]
    assert sorted(names) == sorted(f"{module.__name__}.{name}" for name in module.__all__)


@pytest.mark.parametrize("name", documented())
def test_a_documented_name_exists_and_has_a_docstring(name: str) -> None:
    assert inspect.getdoc(resolve(name))


def test_the_python_api_has_every_name_that_a_page_imports() -> None:
    text = "\n".join(page.read_text() for page in [ROOT / "README.md", *DOCS.rglob("*.md")])
    imported = {
        f"{module}.{name.strip().partition(' as ')[0]}"
        for module, names in re.findall(r"^from (celeriac[\w.]*) import ([\w, ]+)$", text, re.M)
        for name in names.split(",")
    }
    assert imported - {*documented(), "celeriac.testing.capture"} == set()
