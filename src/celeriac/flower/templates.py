"""Flower's templates and ours, and in Flower's navigation and first page the way to ours.

Flower's own files are changed in memory only, at places that are looked for. A Flower where they
are not found keeps its page as it is; ours are then reached by their address.
"""

from __future__ import annotations

import logging
from importlib.resources import files
from pathlib import Path

from tornado.template import DictLoader

logger = logging.getLogger(__name__)

# File of Flower → what is looked for, and what is put before it. Only its first place counts.
PATCHES = {
    "navbar.html": (
        "</ul>",
        '{% module Template("celeriac-navbar.html", active_tab=active_tab) %}',
    ),
    "base.html": ("</head>", '{% module Template("celeriac-head.html") %}'),
    "workers.html": (
        '<section class="workers-table-card"',
        '{% module Template("celeriac-front.html") %}\n  ',
    ),
}


def loader(flower_templates: str) -> DictLoader:
    """A loader of both. Ours are called `celeriac-…`."""
    found = {path.name: path.read_text("utf-8") for path in Path(flower_templates).glob("*.html")}
    for name, (place, text) in PATCHES.items():
        if place in found.get(name, ""):
            found[name] = found[name].replace(place, text + place, 1)
        else:
            logger.warning("this Flower's %s looks different: it does not lead to our pages", name)
    ours = files("celeriac.flower") / "template"
    found |= {f"celeriac-{one.name}": one.read_text("utf-8") for one in ours.iterdir()}
    return DictLoader(found)
