"""huey with its Redis storage. It acknowledges nothing."""

from __future__ import annotations

from typing import Any

from huey import RedisHuey

from benchmarks.payload import ORDER
from benchmarks.peers import work

huey = RedisHuey("billing", url=work.URL, results=False)


@huey.task()
def handle(data: dict[str, Any]) -> None:
    work.handle(data)


def emit(data: dict[str, Any]) -> None:
    handle(data)


def fill(events: int) -> None:
    for _ in range(events):
        handle(ORDER)
