"""A time limit, Ctrl-C or gevent.Timeout may interrupt a command at any of its lines."""

from __future__ import annotations

import gc
import linecache
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import redis
from redis.connection import Connection

import celeriac
from celeriac.store.redis.connection import open_client

OURS = tuple(str(Path(module.__file__ or "").parent) for module in (celeriac, redis))


pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


class Interrupted(BaseException):
    """As a signal handler raises it."""


def is_block(frame: FrameType) -> bool:
    """Return whether the line begins a block. Python handles no signal at `try:`, nor before the
    `__exit__` of a `with`, so an exception there would skip a cleanup as no real one does."""
    line = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
    return line.lstrip().startswith(("with ", "try:"))


@contextmanager
def interrupted_at(
    line: int, folders: tuple[str, ...] = OURS, error: type[BaseException] = Interrupted
) -> Iterator[list[str]]:
    """Raise the error before the so-many-th line that code below the folders executes; yield a list
    with that line, which is empty if the block ends before it."""
    remaining, where = line, list[str]()

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal remaining
        if not frame.f_code.co_filename.startswith(folders):
            return None
        if event == "line" and not is_block(frame):
            if remaining == 0:
                where.append(f"{frame.f_code.co_filename}:{frame.f_lineno}")
                raise error
            remaining -= 1
        return trace

    before = sys.gettrace()
    gc.disable()  # what it runs is no line of the block
    sys.settrace(trace)
    try:
        yield where
    except error:
        pass
    finally:
        sys.settrace(before)
        gc.enable()


@pytest.fixture(autouse=True)
def late_replies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a check for unread data come before it has arrived, as it does over a network."""
    can_read = Connection.can_read

    def not_yet(self: Any, timeout: float = 0, **options: Any) -> bool:
        return bool(timeout) and bool(can_read(self, timeout, **options))

    monkeypatch.setattr(Connection, "can_read", not_yet)


def echo(client: Any) -> None:
    client.execute_command("ECHO", "interrupted")


def many(client: Any) -> None:
    client.execute_many([("ECHO", "interrupted"), ("ECHO", "too")])


def transaction(client: Any) -> None:
    client.transact_many([[("ECHO", "interrupted"), ("ECHO", "too")]])


def pipeline(client: Any) -> None:
    client.pipeline(transaction=False).echo("interrupted").echo("too").execute()


def pipelined_transaction(client: Any) -> None:
    client.pipeline(transaction=True).echo("interrupted").echo("too").execute()


def is_in_order(client: Any) -> bool:
    """Return whether commands and pipelines get their own replies."""
    for value in (b"1", b"2"):
        answers = client.pipeline(transaction=False).echo(value).execute()
        if [value, value] != [client.execute_command("ECHO", value), *answers]:
            return False
    return True


@pytest.mark.parametrize(
    ("call", "connected"),
    [(echo, False), (pipeline, True), (echo, True), (many, True), (transaction, True),
     (pipelined_transaction, True)],
)  # fmt: skip
def test_the_next_commands_get_their_own_replies(
    redis_url: str, call: Callable[[Any], None], connected: bool
) -> None:
    line, wrong = 0, []
    while True:
        client: Any = open_client(redis_url, answer_within=1)
        if connected:
            call(client)
        with interrupted_at(line) as where:
            call(client)
        if not where:
            break
        if not is_in_order(client):
            wrong += where
        client.close()
        line += 1
    assert line > 10
    assert wrong == []
