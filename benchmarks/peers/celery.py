"""Celery with a queue: late acknowledgement, so that a crash loses nothing it can avoid losing."""

from __future__ import annotations

from typing import Any

from celery import Celery

from benchmarks.payload import ORDER
from benchmarks.peers import work

MANY = 100

app = Celery("billing", broker=work.URL)
app.conf.update(task_ignore_result=True, task_acks_late=True, worker_prefetch_multiplier=4)


@app.task(name="handle")
def handle(data: dict[str, Any]) -> None:
    work.handle(data)


@app.task(name="handle_many")
def handle_many(events: list[dict[str, Any]]) -> None:
    work.handle_many(events)


def emit(data: dict[str, Any]) -> None:
    handle.delay(data)


def fill(events: int) -> None:
    with app.producer_or_acquire() as producer:
        for _ in range(events):
            handle.apply_async((ORDER,), producer=producer)


def bulk(events: int) -> None:
    """A hundred events in one message, as only a hand-written batch does it."""
    for _ in range(events // MANY):
        handle_many.delay([ORDER] * MANY)
