"""What each page of Flower reads with."""

from __future__ import annotations

from types import SimpleNamespace

from celery import Celery

from celeriac import EventBus
from celeriac.flower.page import FlowerPage
from celeriac.testing.store import Store


def test_a_page_masks_the_members_that_the_service_names(store: Store) -> None:
    app = Celery("billing", set_as_current=False)
    bus = EventBus(app, service="billing", sensitive="card, iban")
    page = FlowerPage.__new__(FlowerPage)
    page.application = SimpleNamespace(capp=app)
    assert page.matrix.sensitive == bus.matrix.sensitive == {"card", "iban"}


def test_a_worker_that_started_after_flower_has_a_page_too() -> None:
    """Flower inspects at its own start only the workers that run then."""
    workers = {"late@vm": SimpleNamespace(alive=True), "gone@vm": SimpleNamespace(alive=False)}
    page = FlowerPage.__new__(FlowerPage)
    events = SimpleNamespace(state=SimpleNamespace(workers=workers))
    page.application = SimpleNamespace(workers={"early@vm": {}}, events=events)
    assert page.known_workers == {"early@vm", "late@vm"}
