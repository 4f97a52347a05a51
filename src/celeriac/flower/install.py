"""Puts our pages into Flower. It has no seam for that, so this file and `bind` use what it has.

Read and run on Flower 2.2.0; the names used are the same in 2.0.1 and 2.1.0:
`flower.urls.handlers` and `.settings` (which the command passes to the application that it makes
afterwards), `flower.views.BaseHandler`, the templates base.html, navbar.html and workers.html, and
`flower.app.Flower.start_http_server`.
"""

from __future__ import annotations

import logging
from typing import Any

from celeriac.errors import ConfigurationError
from celeriac.flower import bind
from celeriac.flower.routes import routes
from celeriac.flower.templates import loader

log = logging.getLogger(__name__)

LEAST, BELOW = (2, 2), (3, 0)


def install() -> None:
    """Call it before Flower's application is made. Idempotent.

    Raises ConfigurationError for a Flower that this was not made for: before 2.2 cross-site
    requests reach its control API (CVE-2022-51020).
    """
    import flower
    from flower import urls

    version = tuple(int(part) for part in flower.__version__.split(".")[:2])
    if not LEAST <= version < BELOW:
        raise ConfigurationError(
            f"Flower {flower.__version__} is installed; celeriac needs one from 2.2 up to 3: "
            "pip install 'celeriac[flower]', or CELERIAC_FLOWER=off to do without our pages"
        )
    if "celeriac" in urls.settings:
        return
    # Where its handlers may ask whether we are there.
    urls.settings["celeriac"] = True
    urls.settings["template_loader"] = loader(urls.settings["template_path"])
    _insert(urls.handlers, routes())
    bind.install()


def _insert(handlers: list[Any], ours: list[Any]) -> None:
    """Before the last one, which answers 404 to all that no other matches."""
    handlers[-1:-1] = ours
