"""The routes of our pages in Flower. Flower's URL prefix applies to them."""

from __future__ import annotations

from typing import Any

from tornado.web import StaticFileHandler, url

from celeriac.flower.asset import FOLDER
from celeriac.flower.view.actions import ACTIONS
from celeriac.flower.view.audit import AuditPage
from celeriac.flower.view.contracts import ContractsPage
from celeriac.flower.view.dead import DeadPageView
from celeriac.flower.view.event import EventDetailPage
from celeriac.flower.view.events import EventsPage
from celeriac.flower.view.explain import ExplainPage
from celeriac.flower.view.home import DeadCount, HomePart
from celeriac.flower.view.matrix import MatrixPage
from celeriac.flower.view.processes import ProcessesPage, ProcessPage
from celeriac.flower.view.schedules import SchedulesPage
from celeriac.flower.view.services import ServicesPage


def routes() -> list[Any]:
    return [
        url(r"/events", EventsPage, name="celeriac-events"),
        url(r"/event/(.+)", EventDetailPage, name="celeriac-event"),
        url(r"/explain", ExplainPage, name="celeriac-explain"),
        url(r"/matrix", MatrixPage, name="celeriac-matrix"),
        url(r"/services", ServicesPage, name="celeriac-services"),
        url(r"/schedules", SchedulesPage, name="celeriac-schedules"),
        url(r"/processes", ProcessesPage, name="celeriac-processes"),
        url(r"/process", ProcessPage, name="celeriac-process"),
        url(r"/contracts", ContractsPage, name="celeriac-contracts"),
        url(r"/dead", DeadPageView, name="celeriac-dead"),
        url(r"/audit", AuditPage, name="celeriac-audit"),
        url(r"/celeriac/home", HomePart, name="celeriac-home"),
        url(r"/celeriac/count", DeadCount, name="celeriac-count"),
        *(
            url(f"/celeriac/action/{name}", action, name=f"celeriac-{name}")
            for name, action in ACTIONS.items()
        ),
        url(
            r"/celeriac/static/([a-z.]+)",
            StaticFileHandler,
            {"path": str(FOLDER)},
            name="celeriac-static",
        ),
    ]
