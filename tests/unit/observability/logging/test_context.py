"""A line belongs to the event that is being handled where it is written."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from logging.handlers import QueueHandler
from queue import SimpleQueue
from typing import Any

import pytest

from celeriac.event import Event, HandlingContext
from celeriac.observability.logging import EventContext, fields_of
from celeriac.observability.logging.context import FIELDS

Make = Callable[..., logging.LogRecord]

EXPECTED = {
    "event_type": "order.placed",
    "event_id": "7",
    "handler": "billing.charge_card",
    "attempt": 2,
    "correlation_id": "1",
    "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
}


def test_a_line_within_a_handler_names_event_handler_attempt_and_correlation(
    record: Make, event: Event[Any]
) -> None:
    with HandlingContext(event, 2, "billing.charge_card"):
        assert EXPECTED == fields_of(record("charged"))
    assert {} == fields_of(record("charged"))


def test_a_line_of_a_batch_names_its_first_event_and_its_size(
    record: Make, event: Event[Any]
) -> None:
    with HandlingContext(event, 1, "analytics.count", size=80):
        assert 80 == fields_of(record("counted"))["batch"]


def test_the_filter_gives_any_format_its_fields_within_and_empty_ones_outside(
    record: Make, event: Event[Any]
) -> None:
    form = logging.Formatter("%(message)s " + " ".join(f"%({name})s" for name in FIELDS))
    outside, within = record("a"), record("b")
    assert EventContext().filter(outside)
    with HandlingContext(event, 2, "billing.charge_card"):
        assert EventContext().filter(within)
    assert "a" == form.format(outside).strip()
    assert form.format(within).startswith("b order.placed 7 billing.charge_card 2 1 ")


def test_fields_that_a_record_has_are_kept(record: Make, event: Event[Any]) -> None:
    one = record("failed", event_id="9", handler="billing.other")
    with HandlingContext(event, 2, "billing.charge_card"):
        EventContext().filter(one)
    assert ("9", "billing.other") == (one.__dict__["event_id"], one.__dict__["handler"])


def test_extra_fields_of_these_names_are_not_refused(event: Event[Any]) -> None:
    """A record factory would make `logger.info(…, extra={"handler": …})` raise KeyError."""
    logger = logging.getLogger("tests.extra")
    seen: list[logging.LogRecord] = []
    logger.addHandler(keep := _Keep(seen))
    keep.addFilter(EventContext())
    try:
        with HandlingContext(event, 2, "billing.charge_card"):
            logger.error("x", extra={"handler": "mine"})
    finally:
        logger.removeHandler(keep)
    assert "mine" == seen[0].__dict__["handler"]


def test_coroutines_and_threads_made_for_them_keep_the_event(
    record: Make, event: Event[Any]
) -> None:
    async def both() -> list[object]:
        await asyncio.sleep(0)
        here = asyncio.create_task(asyncio.to_thread(fields_of, record("a")))
        return [fields_of(record("b")), await here]

    with HandlingContext(event, 2, "billing.charge_card"):
        assert [EXPECTED, EXPECTED] == asyncio.run(both())


def test_a_thread_of_the_handler_keeps_it_with_a_copy_of_the_context(
    record: Make, event: Event[Any]
) -> None:
    found: list[object] = []
    with HandlingContext(event, 2, "billing.charge_card"):
        run = copy_context().run
        thread = threading.Thread(target=run, args=(lambda: found.append(fields_of(record("a"))),))
        thread.start()
        thread.join()
        with ThreadPoolExecutor(1) as pool:
            found.append(pool.submit(copy_context().run, fields_of, record("b")).result())
    assert [EXPECTED, EXPECTED] == found


def test_two_threads_have_events_of_their_own(record: Make, event: Event[Any]) -> None:
    other, both = event.with_data(None), threading.Barrier(2)
    found: dict[int, object] = {}

    def handle(attempt: int) -> None:
        with HandlingContext(other, attempt, "billing.charge_card"):
            both.wait(60)
            found[attempt] = fields_of(record("a"))["attempt"]

    threads = [threading.Thread(target=handle, args=(n,)) for n in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {1: 1, 2: 2} == found


def test_behind_a_queue_the_filter_keeps_what_was_true_when_the_line_was_written(
    event: Event[Any], caplog: pytest.LogCaptureFixture
) -> None:
    queue: SimpleQueue[logging.LogRecord] = SimpleQueue()
    hand_over = QueueHandler(queue)
    hand_over.addFilter(EventContext())
    logger = logging.getLogger("tests.queue")
    logger.addHandler(hand_over)
    try:
        with HandlingContext(event, 2, "billing.charge_card"):
            logger.error("first")
        logger.error("then")
    finally:
        logger.removeHandler(hand_over)
    assert EXPECTED == fields_of(queue.get())
    later = queue.get()
    with HandlingContext(event, 2, "billing.charge_card"):
        assert {} == fields_of(later), "a line from outside is not claimed by who formats it"


class _Keep(logging.Handler):
    def __init__(self, seen: list[logging.LogRecord]) -> None:
        super().__init__()
        self.seen = seen

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(record)
