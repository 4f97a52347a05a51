"""A hundred thousand events and ten thousand dead letters: a page reads as much as with a few."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import pytest

from celeriac.event_log import EntryKind
from celeriac.flower.page import MAX_SUGGESTED
from celeriac.flower.view.services import MAX_LINES, MAX_SERVICES
from celeriac.settings import Settings
from tests.browser.flower import Flower, shop_of
from tests.unit.tracking.shop import Shop

EVENTS, DEAD = 100_000, 10_000
# Bytes that Redis sends for one request, and for all that Flower asks for meanwhile. All of the
# events are 13 MB.
LITTLE = 2_000_000


@pytest.fixture(scope="module")
def shop(watched: Settings) -> Shop:
    """The last of all events is the only one of its kind, and so is the first."""
    made = shop_of(watched)
    for n in range(8):
        made.on(f"service{n % 4}.handler{n}", "order.#", retries=0)
    made.start()
    made.emit("order.first", id="the-first")
    body = {"specversion": "1.0", "source": "shop", "type": "order.placed"}
    log = made.backend.event_log
    for start in range(0, EVENTS, 5000):
        log.append_many(
            [
                ("order", msgspec.json.encode({**body, "id": f"event-{n}"}), EntryKind.FOREIGN, 0)
                for n in range(start, start + 5000)
            ]
        )
    deliveries = made.backend.deliveries
    pipeline = deliveries.client.pipeline(transaction=False)  # type: ignore[attr-defined]
    keys = deliveries.keys  # type: ignore[attr-defined]
    for n in range(DEAD):
        fields = {
            "handler": f"service{n % 4}.handler{n % 8}", "entry": f"1-{n + 1}", "id": f"dead-{n}",
            "attempts": 1, "error": "Boom: no", "traceback": "x" * 500, "first_failed": 1,
            "last_failed": 1, "event": msgspec.json.encode({**body, "id": f"dead-{n}"}),
        }  # fmt: skip
        pipeline.xadd(keys.dead("order"), fields)
        pipeline.hincrby(keys.dead_groups("order"), f"service{n % 4}.handler{n % 8} Boom", 1)
    pipeline.execute()
    return made


@contextmanager
def little_is_read(shop: Shop, what: str) -> Iterator[None]:
    """Fail if Redis sends much to its clients within the block."""
    client = shop.backend.deliveries.client  # type: ignore[attr-defined]
    before = client.info("stats")["total_net_output_bytes"]
    yield
    sent = client.info("stats")["total_net_output_bytes"] - before
    assert sent < LITTLE, f"{what}: Redis sent {sent:,} bytes"


@pytest.mark.parametrize(
    "path",
    [
        "/events", "/events?live=1", "/events?service=service1", "/events?state=waiting",
        "/events?id=event-99", "/matrix", "/services", "/dead", "/dead?handler=service1.handler1",
        "/celeriac/home", "/event/event-99999", "/explain?type=order.placed",
        "/explain?event=event-99&handler=service1.handler1",
    ],
)  # fmt: skip
def test_a_page_reads_little(flower: Flower, shop: Shop, path: str) -> None:
    with little_is_read(shop, path):
        answer = flower.ask(path)
    assert answer.status in (200, 404), answer.text


def test_a_search_that_finds_nothing_yet_ends_before_the_log(flower: Flower, shop: Shop) -> None:
    text = flower.ask("/events?state=dead").text
    assert "Search further" in text


def test_what_is_far_back_is_found_step_by_step(flower: Flower, shop: Shop) -> None:
    """No request reads the full log; each reports the time that it reached."""
    path, steps = "/events?type=order.first", 0
    while True:
        text = flower.ask(path).text
        steps += 1
        if "the-first" in text:
            break
        assert "Search further" in text
        further = re.search(r'rel="next" href="([^"]+)"', text)
        assert further, text[-500:]
        path = further[1].replace("&amp;", "&")
    assert 3 <= steps <= 25


def test_any_page_of_many_reads_as_little_as_the_first(flower: Flower, shop: Shop) -> None:
    entries = shop.backend.event_log.read("order", count=50)
    with little_is_read(shop, "the last page"):
        answer = flower.ask(f"/events?before=order/{entries[-1].id}")
    assert 200 == answer.status and "the-first" in answer.text


def test_a_large_group_is_counted_and_redriven_in_steps(flower: Flower, shop: Shop) -> None:
    """Each step is short, and later dead letters are not touched."""
    asked = {"handler": "service1.handler1", "exception": "Boom"}
    counted, after, until, steps = 0, "", None, 0
    while True:
        body = {**asked, "after": after} | ({"until_ms": until} if until else {})
        with little_is_read(shop, "count-many"):
            step = json.loads(flower.act("count-many", json.dumps(body).encode()).text)
        counted, after, until, steps = (
            counted + step["chosen"],
            step["after"],
            step["until_ms"],
            steps + 1,
        )
        if step["end"]:
            break
    assert (DEAD // 8, True) == (counted, steps > 3)
    done, after, operation, steps = 0, "", "", 0
    while True:
        body = {**asked, "after": after, "until_ms": until, "operation": operation}
        with little_is_read(shop, "redrive-many"):
            step = json.loads(flower.act("redrive-many", json.dumps(body).encode()).text)
        done, after, operation = done + step["done"], step["after"], step["operation"]
        steps += 1
        if step["end"]:
            break
    assert (DEAD // 8, True) == (done, steps > 3)
    assert DEAD - DEAD // 8 == shop.backend.deliveries.dead_count("order")
    [act] = re.findall(r"1,250", flower.ask("/audit").text)
    assert act, "one operation is one line"


def test_of_hundreds_of_handlers_and_services_the_others_are_counted(
    flower: Flower, shop: Shop
) -> None:
    """The last test of this module: the handlers stay."""
    registry = shop.backend.registry
    record = registry.handlers()["service1.handler1"]
    for n in range(MAX_SUGGESTED):
        name = f"busy{n % (MAX_SERVICES + 5)}"
        registry.register(msgspec.structs.replace(record, id=f"{name}.h{n}", service=name))
    text = flower.ask("/services").text
    assert re.search(r"and \d+ more handlers?, with less lag", text)
    assert re.search(r"and \d+ more services?: ", text)
    assert MAX_LINES >= text.count("data-verb=")
    assert "and 8 more: add ?handler=NAME to the URL" in flower.ask("/events").text
