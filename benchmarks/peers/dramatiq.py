"""dramatiq with its Redis broker."""

from __future__ import annotations

from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from benchmarks.payload import ORDER
from benchmarks.peers import work

dramatiq.set_broker(RedisBroker(url=work.URL))


@dramatiq.actor
def handle(data: dict[str, Any]) -> None:
    work.handle(data)


def emit(data: dict[str, Any]) -> None:
    handle.send(data)


def fill(events: int) -> None:
    for _ in range(events):
        handle.send(ORDER)
