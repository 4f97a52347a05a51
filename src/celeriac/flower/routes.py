"""Our addresses within Flower. Its url prefix is put before them as before its own."""

from __future__ import annotations

from typing import Any

from tornado.web import StaticFileHandler, url

from celeriac.flower.asset import FOLDER
from celeriac.flower.view.actions import ACTS
from celeriac.flower.view.audit import AuditPage
from celeriac.flower.view.contracts import ContractsPage
from celeriac.flower.view.dead import DeadPageView
from celeriac.flower.view.event import EventPage
from celeriac.flower.view.events import EventsPage
from celeriac.flower.view.explain import ExplainPage
from celeriac.flower.view.home import DeadCount, FrontPart
from celeriac.flower.view.matrix import MatrixPage
from celeriac.flower.view.services import ServicesPage


def routes() -> list[Any]:
    return [
        url(r"/events", EventsPage, name="celeriac-events"),
        url(r"/event/(.+)", EventPage, name="celeriac-event"),
        url(r"/explain", ExplainPage, name="celeriac-explain"),
        url(r"/matrix", MatrixPage, name="celeriac-matrix"),
        url(r"/services", ServicesPage, name="celeriac-services"),
        url(r"/contracts", ContractsPage, name="celeriac-contracts"),
        url(r"/dead", DeadPageView, name="celeriac-dead"),
        url(r"/audit", AuditPage, name="celeriac-audit"),
        url(r"/celeriac/front", FrontPart, name="celeriac-front"),
        url(r"/celeriac/count", DeadCount, name="celeriac-count"),
        *(url(f"/celeriac/act/{name}", act, name=f"celeriac-{name}") for name, act in ACTS.items()),
        url(
            r"/celeriac/static/([a-z.]+)",
            StaticFileHandler,
            {"path": str(FOLDER)},
            name="celeriac-static",
        ),
    ]
