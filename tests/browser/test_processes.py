"""The pages of processes in a browser: the list, one instance as a timeline, abort and remind."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from celeriac import EventBus
from celeriac.event import build_event, decode, encode
from celeriac.process import create_processes
from celeriac.settings import Settings
from tests.browser.flower import Flower
from tests.unit.process.shop import fulfilment

if TYPE_CHECKING:
    from playwright.sync_api import Page

HANDLER = "watched.fulfilment"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = f"sqlite:///{tmp_path_factory.mktemp('processes') / 'shop.sqlite'}"
    create_processes(create_engine(url, poolclass=NullPool))
    return url


@pytest.fixture(scope="module")
def bus(watched: Settings, url: str) -> EventBus:
    bus = EventBus(service="watched", redis_url=watched.redis_url, namespace=watched.namespace)
    bus.process(fulfilment(create_engine(url, poolclass=NullPool)))
    return bus


@pytest.fixture(scope="module")
def flower(
    watched: Settings, url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Flower]:
    directory: Path = tmp_path_factory.mktemp("flower")
    started = Flower(watched, directory, environment={"CELERIAC_OUTBOX_URL": url})
    try:
        yield started.start()
    finally:
        started.stop()


def handle(bus: EventBus, type: str, key: str, data: object = None) -> None:
    """Handle an event as a worker does."""
    receiver = bus.service.handlers[HANDLER].receiver
    assert receiver is not None
    receiver(decode(encode(build_event(type, data, source="shop", subject=key))))


def test_instances_are_listed_by_status_and_shown_as_a_timeline(page: Page, bus: EventBus) -> None:
    handle(bus, "order.placed", "order-1", {"cents": 990})
    handle(bus, "order.placed", "<b>order-2</b> ", {"cents": 5})
    handle(bus, "payment.failed", "<b>order-2</b> ")
    page.goto("/processes")
    page.get_by_role("link", name="order-1", exact=True).wait_for()
    page.get_by_role("link", name="1 aborted").click()
    page.get_by_role("link", name="<b>order-2</b>").click()
    page.get_by_text("payment.failed").first.wait_for()
    page.get_by_role("link", name="payment.refund").wait_for()
    assert page.get_by_role("button", name="Abort").count() == 0


def test_an_instance_and_its_list_fit_a_phone(page: Page, bus: EventBus) -> None:
    handle(bus, "order.placed", "order-5", {"cents": 990})
    page.set_viewport_size({"width": 400, "height": 800})
    for path in ("/processes", f"/process?handler={HANDLER}&key=order-5"):
        page.goto(path)
        page.locator(".cl-rows").first.wait_for()
        wide = "e => e.scrollWidth - e.clientWidth"
        assert page.locator(".cl-scroll").first.evaluate(wide) <= 0
        row = page.locator(".cl-rows tbody tr").first
        tops = row.evaluate("row => [...row.cells].map(cell => cell.getBoundingClientRect().top)")
        main = row.evaluate("row => row.querySelector('.cl-a-main').getBoundingClientRect().top")
        assert tops.count(main) == 1 and main == min(top for top in tops if top > 0)


def test_the_time_of_a_timer_is_exact(page: Page, bus: EventBus) -> None:
    """An age does not include a timer that has expired since."""
    handle(bus, "order.placed", "order-6", {"cents": 990})
    page.goto(f"/process?handler={HANDLER}&key=order-6")
    effect = page.locator(".cl-rows .cl-wrap", has_text="sets unpaid to")
    assert "ago" not in effect.inner_text() and ":" in effect.inner_text()


def test_an_instance_is_aborted_by_its_process(page: Page, bus: EventBus) -> None:
    handle(bus, "order.placed", "order-3", {"cents": 990})
    page.goto(f"/process?handler={HANDLER}&key=order-3")
    page.get_by_text('"cents": 990').wait_for()
    page.get_by_role("button", name="Abort").click()
    page.get_by_placeholder("Reason").fill("the customer called")
    page.get_by_role("dialog").get_by_role("button", name="Abort").click()
    page.get_by_text("Abort requested: order-3").wait_for()
    [entry] = bus.service.backend.event_log.read("process", count=10)
    receiver = bus.service.handlers[HANDLER].receiver
    assert receiver is not None
    receiver(decode(entry.body or b""))
    page.get_by_text("the customer called").wait_for()
    page.get_by_role("link", name="payment.refund").wait_for()
    page.goto("/audit")
    page.get_by_role("row", name=re.compile("ada abort .*the customer called")).wait_for()


def test_a_timer_expires_now(page: Page, bus: EventBus, url: str) -> None:
    handle(bus, "order.placed", "order-4", {"cents": 990})
    page.goto(f"/process?handler={HANDLER}&key=order-4")
    page.get_by_role("button", name="Let unpaid expire now").click()
    page.get_by_role("dialog").get_by_role("button", name="Remind").click()
    page.get_by_text("Expires now: unpaid").wait_for()
    with create_engine(url, poolclass=NullPool).begin() as connection:
        sql = (
            "SELECT t.at_ms <= p.started_ms + 600000 FROM celeriac_timer t "
            "JOIN celeriac_process p USING (handler, instance_key) WHERE instance_key = 'order-4'"
        )
        assert connection.execute(text(sql)).scalar() == 1


def test_an_unknown_instance_is_an_error_page(flower: Flower, page: Page) -> None:
    response = page.goto(f"/process?handler={HANDLER}&key=unknown")
    assert response is not None and response.status == 404
    page.get_by_text("instance not found").wait_for()
