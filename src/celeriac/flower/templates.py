"""Flower's templates and ours, with links to our pages in Flower's navigation and home page.

Flower's files are changed in memory only, at markers. If a marker is missing, Flower's page stays
as it is and our pages are reached by their URLs.
"""

from __future__ import annotations

import logging
from importlib.resources import files
from pathlib import Path

from tornado.template import DictLoader

logger = logging.getLogger(__name__)

# Flower's file → a marker, and the text inserted before its first occurrence.
PATCHES = {
    "navbar.html": (
        "</ul>",
        '{% module Template("celeriac-navbar.html", active_tab=active_tab) %}',
    ),
    "base.html": ("</head>", '{% module Template("celeriac-head.html") %}'),
    "workers.html": (
        '<section class="workers-table-card"',
        '{% module Template("celeriac-home.html") %}\n  ',
    ),
}


def loader(flower_templates: str) -> DictLoader:
    """Return a loader of both. Our templates are named `celeriac-…`."""
    templates = {
        path.name: path.read_text("utf-8") for path in Path(flower_templates).glob("*.html")
    }
    for name, (marker, text) in PATCHES.items():
        if marker in templates.get(name, ""):
            templates[name] = templates[name].replace(marker, text + marker, 1)
        else:
            logger.warning(
                "celeriac: %s of this Flower is not as expected, so it does not link to our pages",
                name,
            )
    ours = files("celeriac.flower") / "template"
    templates |= {f"celeriac-{file.name}": file.read_text("utf-8") for file in ours.iterdir()}
    return DictLoader(templates)
