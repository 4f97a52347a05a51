"""Hooks of MkDocs for the documentation site: what GitHub does with docs/, the site does as well.

Used by mkdocs.yml. A warning fails the build, which is strict.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from posixpath import dirname, normpath
from typing import Any

logger = logging.getLogger("mkdocs.hooks.docs_site")

ROOT = Path(__file__).parents[1]
INDEX = "README.md"
SECTIONS = {
    "tutorial": "Tutorial",
    "how-to": "How-to",
    "reference": "Reference",
    "explanation": "Explanation",
    "internals": "Internals",
    "adr": "Decisions",
}
API = "reference/api/"

_FENCE = re.compile(r"(^ *(?:```|~~~).*?^ *(?:```|~~~) *$)", re.M | re.S)
# Comments that Sybil reads: code that a page runs and does not show.
_INVISIBLE = re.compile(r"<!---.*?-->\n?", re.S)
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(((?:\.\./)+[^)\s]*)\)")
_PAGE_LINK = re.compile(r"\(([\w./-]+\.md)\)")
_CODE = re.compile(r"<(pre|code)\b.*?</\1>", re.S)


def on_config(config: Any) -> Any:
    """Make the navigation: a tab for each folder, its pages in the order of the index."""
    config.setdefault("markdown_extensions", []).append(list_extension())
    docs = Path(config["docs_dir"])
    config["nav"] = navigation((docs / INDEX).read_text("utf-8"), decisions(docs))
    return config


def decisions(docs: Path) -> list[str]:
    return [f"adr/{page.name}" for page in sorted((docs / "adr").glob("[0-9]*.md"))]


def navigation(index: str, decisions: list[str]) -> list[Any]:
    """Return `nav` for the pages that the index links to, under its third-level headings.

    Rows of its tables count before links in its text.
    """
    tabs: dict[str, list[Any]] = {folder: [] for folder in SECTIONS}
    groups: dict[str, str] = {}
    introduced: list[str] = []
    group = ""
    for line in index.splitlines():
        if line.startswith("#"):
            group = line.removeprefix("### ") if line.startswith("### ") else ""
        for page in _PAGE_LINK.findall(line):
            if not line.startswith("|"):
                introduced.append(page)
            else:
                groups.setdefault(page, "Python API" if page.startswith(API) else group)
    for page in dict.fromkeys([*groups, *introduced]):
        folder = page.partition("/")[0]
        if folder in tabs:
            _pages_below(tabs[folder], groups.get(page, "")).append(page)
    tabs["adr"] += decisions
    return [{"Home": INDEX}, *({SECTIONS[folder]: tabs[folder]} for folder in SECTIONS)]


def _pages_below(tab: list[Any], group: str) -> list[Any]:
    if not group:
        return tab
    for entry in tab:
        if isinstance(entry, dict) and group in entry:
            pages: list[Any] = entry[group]
            return pages
    made: list[Any] = []
    tab.append({group: made})
    return made


def list_extension() -> Any:
    """Return the extension by which text in a list is indented by 2 spaces or more, as on GitHub.

    Python-Markdown wants 4. Blocks of code that are indented, not fenced, still need 4.
    """
    from markdown.blockprocessors import (  # type: ignore[import-untyped]
        ListIndentProcessor,
        OListProcessor,
        UListProcessor,
    )
    from markdown.extensions import Extension  # type: ignore[import-untyped]

    class NarrowLists(Extension):  # type: ignore[misc]
        def extendMarkdown(self, md: Any) -> None:
            md.tab_length = 2
            # In the order and with the priorities of Python-Markdown.
            md.parser.blockprocessors.register(ListIndentProcessor(md.parser), "indent", 90)
            md.parser.blockprocessors.register(OListProcessor(md.parser), "olist", 40)
            md.parser.blockprocessors.register(UListProcessor(md.parser), "ulist", 30)

    return NarrowLists()


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:
    """Drop invisible code, and link to the repository for files outside of docs/."""
    source = page.file.src_uri
    if source == INDEX:
        # Its navigation is the page itself.
        page.meta["hide"] = ["navigation"]

    def absolute(link: re.Match[str]) -> str:
        image, label, target = link.groups()
        path, _, anchor = target.partition("#")
        inside = normpath(f"{dirname(source)}/{path}" if dirname(source) else path)
        if not inside.startswith(".."):
            return link[0]
        return f"{image}[{label}]({_repository_url(config, source, inside[3:], anchor, image)})"

    return outside_code(markdown, lambda text: _LINK.sub(absolute, _INVISIBLE.sub("", text)))


def outside_code(markdown: str, change: Callable[[str], str]) -> str:
    """Return the text with the change applied to all of it but fenced code."""
    parts = _FENCE.split(markdown)
    return "".join(part if index % 2 else change(part) for index, part in enumerate(parts))


def _repository_url(config: Any, source: str, path: str, anchor: str, image: str) -> str:
    target = ROOT / path
    if not target.exists():
        logger.warning("%s links to %s, which does not exist", source, path)
    kind = "raw" if image else "tree" if target.is_dir() else "blob"
    return f"{config['repo_url']}/{kind}/main/{path}" + (f"#{anchor}" if anchor else "")


def on_page_content(html: str, *, page: Any, **_: Any) -> str:
    """Warn of what GitHub shows as a list, a table or code and the site as plain text."""
    text = _CODE.sub("", html)
    for mark, name in (
        ("```", "code block"),
        ("<p>- ", "list"),
        ("<p>* ", "list"),
        ("\n| ", "table"),
    ):
        if mark in text:
            logger.warning(
                "%s: a %s is not rendered. Put a blank line before it and indent it by the width "
                "of its list item",
                page.file.src_uri,
                name,
            )
    return html
