"""The Python blocks of README.md and docs/ run as tests, on a bus in memory.

The blocks of one page share their names, as they would in one module. What a page asserts and a
reader need not see stands in `<!--- invisible-code-block: python` comments. The title of a page is
a test as well: that each of its relative links leads somewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from sybil import Document, Example, Region, Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

from celeriac import set_default_bus
from celeriac.testing import capture
from tests.declared_contracts import no_contracts

pytest_plugins = ["tests.distribution"]

_FENCE = re.compile(r"^(```|~~~).*?^\1", re.M | re.S)
_LINK = re.compile(r"\[[^\]]*\]\((?!\w+:)([^)\s]*)\)")
_HEADING = re.compile(r"^#+ +(.+)$", re.M)


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives to a page's headings."""
    text = _FENCE.sub("", page.read_text())
    kept = (re.sub(r"[^\w\- ]", "", title.lower()) for title in _HEADING.findall(text))
    return {title.strip().replace(" ", "-") for title in kept}


def broken_links(page: Path) -> list[str]:
    """Relative links of a page that lead nowhere."""
    broken = []
    for link in _LINK.findall(_FENCE.sub("", page.read_text())):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    return broken


def _links(document: Document) -> Iterable[Region]:
    title = re.match(r"# .*", document.text)
    if title is not None:
        yield Region(title.start(), title.end(), None, _check_links)


def _check_links(example: Example) -> None:
    assert broken_links(Path(example.path)) == []


def _begin(namespace: dict[str, Any]) -> None:
    namespace["__page"] = stack = ExitStack()
    stack.enter_context(capture())
    stack.enter_context(no_contracts())
    stack.callback(set_default_bus, None)


def _end(namespace: dict[str, Any]) -> None:
    namespace["__page"].close()


pytest_collect_file = Sybil(
    parsers=[_links, PythonCodeBlockParser(), SkipParser()],
    patterns=["README.md", "docs/*.md", "docs/*/*.md"],
    setup=_begin,
    teardown=_end,
).pytest()
