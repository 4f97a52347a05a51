"""Celery on a kombu topic exchange: the usual way to fan an event out to services."""

from __future__ import annotations

from typing import Any

from celery import Celery
from kombu.entity import Exchange, Queue

from benchmarks.payload import ORDER
from benchmarks.peers import work

events = Exchange("events", type="topic")
app = Celery(work.SERVICE, broker=work.URL)
app.conf.update(
    task_ignore_result=True,
    task_acks_late=True,
    worker_prefetch_multiplier=4,
    task_queues=[Queue(work.SERVICE, events, routing_key="order.#")],
    task_default_queue=work.SERVICE,
)


@app.task(name="handle")
def handle(data: dict[str, Any]) -> None:
    work.handle(data)


def emit(data: dict[str, Any]) -> None:
    app.send_task("handle", (data,), exchange=events, routing_key="order.placed")


def fill(count: int) -> None:
    for _ in range(count):
        emit(ORDER)
