"""Add our pages to Flower, which has no extension point for pages.

Verified on Flower 2.2.0; the names used are the same in 2.0.1 and 2.1.0: `flower.urls.handlers` and
`.settings` (which the command passes to the application that it creates later),
`flower.views.BaseHandler`, the templates base.html, navbar.html and workers.html, and
`flower.app.Flower.start_http_server`.
"""

from __future__ import annotations

from typing import Any

from celeriac.errors import ConfigurationError
from celeriac.flower.bind import choose_address
from celeriac.flower.metrics import Metrics, add_metrics
from celeriac.flower.routes import routes
from celeriac.flower.templates import loader

LEAST, BELOW = (2, 2), (3, 0)


def install() -> None:
    """Add the pages. Call it before Flower's application is created. Idempotent.

    Raises ConfigurationError for an unsupported version of Flower: before 2.2, cross-site requests
    reach its control API (CVE-2022-51020).
    """
    import flower
    from flower import urls

    version = tuple(int(part) for part in flower.__version__.split(".")[:2])
    if not LEAST <= version < BELOW:
        raise ConfigurationError(
            f"Flower is not supported: {flower.__version__}. Install a version from 2.2 up to "
            "3 with "
            "pip install 'celeriac[flower]', or set CELERIAC_FLOWER=off to disable celeriac's "
            "pages."
        )
    if "celeriac" in urls.settings:
        return
    # Flower's handlers read this to detect that celeriac is installed.
    urls.settings["celeriac"] = True
    urls.settings["template_loader"] = loader(urls.settings["template_path"])
    # Before the last route, which answers 404 to every other address.
    urls.handlers[-1:-1] = routes()
    # Before Flower's own route, which would read the delivery store on its event loop.
    urls.handlers.insert(0, (r"/metrics", Metrics))
    _before_listening()


def _before_listening() -> None:
    """Choose the address when all options of Flower are known and the app has its bus."""
    from flower.app import Flower

    listen = Flower.start_http_server

    def start_http_server(self: Any) -> Any:
        choose_address(self.options)
        add_metrics(self.capp)
        return listen(self)

    Flower.start_http_server = start_http_server
