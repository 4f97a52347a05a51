"""Redis is unreachable, does not reply, or is full: the errors of emit, and when it raises."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from celeriac import BusUnavailable, EventBus, LogFull
from celeriac.testing.server import start_server

TIMEOUT = 0.4
MAX_TIME = TIMEOUT * 1.5 + 0.2


@pytest.fixture(params=["emit", "aemit"])
def emit(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Emit an event, or a list of events."""

    async def aemit(bus: EventBus, given: Any) -> Any:
        try:
            if isinstance(given, list):
                return await bus.aemit_many(given)
            return await bus.aemit(*given)
        finally:
            await bus.aclose()

    def call(bus: EventBus, given: Any) -> Any:
        if request.param == "aemit":
            return asyncio.run(aemit(bus, given))
        return bus.emit_many(given) if isinstance(given, list) else bus.emit(*given)

    return call


@pytest.fixture
def closed() -> Iterator[str]:
    """A port that refuses connections, and that no other process can take."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"redis://:secret@127.0.0.1:{bound.getsockname()[1]}/0"


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that accepts connections and never replies."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"redis://:secret@127.0.0.1:{server.getsockname()[1]}/0"


@pytest.mark.parametrize("kind", ["closed", "silent"])
@pytest.mark.parametrize("given", [("order.placed",), [("order.placed", 1)]], ids=["one", "many"])
def test_it_gives_up_in_time_and_names_address_and_settings(
    request: pytest.FixtureRequest, emit: Callable[..., Any], kind: str, given: Any
) -> None:
    url: str = request.getfixturevalue(kind)
    bus = EventBus(service="billing", redis_url=url, emit_timeout=TIMEOUT)
    took: list[float] = []
    errors: list[BusUnavailable] = []
    # Other processes only make it longer: the quickest of several emits counts.
    while not took or (min(took) > MAX_TIME and len(took) < 10):
        started = time.monotonic()
        with pytest.raises(BusUnavailable) as caught:
            emit(bus, given)
        took.append(time.monotonic() - started)
        errors.append(caught.value)
    message = str(errors[-1])
    assert TIMEOUT / 2 <= min(took) <= MAX_TIME
    assert url.replace(":secret@", ":***@") in message and "secret" not in message
    assert "CELERIAC_REDIS_URL" in message and "CELERIAC_EMIT_TIMEOUT" in message
    assert "tries in 0.4 s" in message or "1 try in" in message
    assert 0 == errors[-1].emitted


def test_an_address_that_resolves_to_nothing_is_named(emit: Callable[..., Any]) -> None:
    bus = EventBus(service="billing", redis_url="redis://nowhere.invalid:6379/0", emit_timeout=0.1)
    with pytest.raises(BusUnavailable, match=r"nowhere\.invalid"):
        emit(bus, ("order.placed",))


def test_a_full_log_refuses_and_nothing_is_lost(tmp_path: Path, emit: Callable[..., Any]) -> None:
    with start_server(tmp_path, appendonly=False, extra=("--maxmemory", "4mb")) as server:
        bus = EventBus(service="billing", redis_url=server.url)
        sent = [("order.placed", "x" * 100_000)] * 100
        with pytest.raises(LogFull) as caught:
            emit(bus, sent)
        emitted = caught.value.emitted
        assert 0 < emitted < 100
        assert emitted <= bus.service.backend.event_log.length("order") <= 100
        with pytest.raises(LogFull, match="maxmemory with noeviction") as caught:
            for _ in range(100):
                emit(bus, ("order.placed", "x" * 100_000))
        for part in (server.url, "CELERIAC_RETENTION", "Nothing was written"):
            assert part in str(caught.value)
        bus.service.backend.event_log.client.close()  # type: ignore[attr-defined]
