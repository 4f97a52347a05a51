"""How Redis is reached, how long it is tried, and how a failure is reported."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
)

from celeriac.errors import BusUnavailable, ConfigurationError, LogFull
from celeriac.store.redis.connection import (
    address,
    explain,
    is_transient,
    open_client,
    pauses,
    persist,
)
from celeriac.testing.ports import free_port

URL = "redis://:secret@h:6379/0"


def failing(times: int, error: Exception) -> Callable[[], str]:
    left = iter([error] * times)

    def call() -> str:
        for one in left:
            raise one
        return "done"

    return call


def test_opening_does_not_connect() -> None:
    open_client("redis://127.0.0.1:1/0", answer_within=1)


def test_a_url_that_is_none_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="CELERIAC_REDIS_URL=http://h"):
        open_client("http://h", answer_within=1)


def test_a_bad_url_is_named_without_its_password() -> None:
    with pytest.raises(ConfigurationError) as caught:
        open_client("redis://u:secret@h:99999/0", answer_within=1)
    assert "secret" not in str(caught.value)


def test_a_client_does_not_try_on_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    client = open_client(f"redis://127.0.0.1:{free_port()}/0", answer_within=5)
    tries: list[object] = []
    kind: Any = client.connection_pool.connection_class
    connect = kind._connect

    def counted(connection: Any) -> Any:
        tries.append(connection)
        return connect(connection)

    monkeypatch.setattr(kind, "_connect", counted)
    with pytest.raises(redis.ConnectionError):
        client.ping()
    assert 1 == len(tries)


def test_an_answer_that_does_not_come_in_time_is_an_error(redis_url: str) -> None:
    client = open_client(redis_url, answer_within=0.1)
    with pytest.raises(redis.TimeoutError):
        client.blpop("never", timeout=60)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://h:1/0", "redis://h:1/0"),
        ("redis://:secret@h:1/0", "redis://:***@h:1/0"),
        ("rediss://me:se%40cret@h:1/0", "rediss://me:***@h:1/0"),
        ("unix:///run/redis.sock?db=1", "unix:///run/redis.sock?db=1"),
    ],
)
def test_an_address_has_no_password(url: str, shown: str) -> None:
    assert shown == address(url)


# -- trying again


def test_a_call_is_tried_again_while_redis_is_away() -> None:
    away = redis.ConnectionError("refused")
    assert "done" == persist(failing(2, away), url=URL, seconds=5)


@pytest.mark.parametrize(
    "error", [redis.TimeoutError(), BusyLoadingError(), ReadOnlyError("replica")]
)
def test_what_passes_by_itself_is_transient(error: Exception) -> None:
    assert is_transient(error)


@pytest.mark.parametrize(
    "error", [AuthenticationError(), ResponseError("WRONGTYPE"), OutOfMemoryError(), OSError()]
)
def test_what_stays_is_not_tried_again(error: Exception) -> None:
    assert not is_transient(error)


def test_a_final_error_is_raised_at_once() -> None:
    calls = failing(1, ResponseError("WRONGTYPE"))
    with pytest.raises(BusUnavailable, match="refused the command: WRONGTYPE"):
        persist(calls, url=URL, seconds=5)
    assert "done" == calls()


def test_the_limit_is_one_for_all_tries_together() -> None:
    started = time.monotonic()
    with pytest.raises(BusUnavailable, match=r"cannot reach Redis at .*tries in 0\.3 s"):
        persist(failing(1000, redis.ConnectionError("refused")), url=URL, seconds=0.3)
    assert 0.2 < time.monotonic() - started < 30


def test_other_errors_pass_through() -> None:
    with pytest.raises(KeyError):
        persist(failing(1, KeyError("x")), url=URL, seconds=1)


def test_pauses_double_up_to_a_second_and_end(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(random, "uniform", lambda low, high: high)
    following = pauses(10)
    seen = []
    while (pause := following()) is not None:
        seen.append(pause)
        now[0] += pause
    assert [0.05, 0.1, 0.2, 0.4, 0.8, 1.0] == seen[:6]
    assert 10 == pytest.approx(sum(seen))


# -- telling


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (OutOfMemoryError("full"), LogFull, "is full .*celeriac lag.*CELERIAC_RETENTION"),
        (ResponseError("OOM command not allowed"), LogFull, "is full"),
        (AuthenticationError("WRONGPASS"), BusUnavailable, "refused the login: WRONGPASS"),
        (ResponseError("ERR unknown"), BusUnavailable, "celeriac doctor"),
        (redis.ConnectionError("refused"), BusUnavailable, r"refused \(1 try in 2 s\)"),
        (redis.TimeoutError(), BusUnavailable, r"TimeoutError \(1 try"),
    ],
)
def test_a_failure_has_the_remedy_and_never_the_password(
    error: redis.RedisError, kind: type[Exception], said: str
) -> None:
    told = explain(error, url=URL, tries=1, seconds=2)
    assert kind is type(told)
    with pytest.raises(kind, match=said):
        raise told
    assert "secret" not in str(told)
    assert "redis://:***@h:6379/0" in str(told)


FULL, OTHER = OutOfMemoryError("command not allowed"), ResponseError("ERR other")


@pytest.mark.parametrize(
    ("error", "waits", "repeats"),
    [(FULL, True, True), (FULL, False, False), (OTHER, True, False), (OTHER, False, False)],
)
def test_only_a_full_server_is_waited_for_and_only_on_demand(
    monkeypatch: pytest.MonkeyPatch, error: Exception, waits: bool, repeats: bool
) -> None:
    paused: list[float] = []
    own = SimpleNamespace(sleep=paused.append, monotonic=time.monotonic)
    monkeypatch.setattr("celeriac.store.redis.connection.time", own)
    try:
        persist(failing(1, error), url=URL, seconds=5, wait_for_memory=waits)
    except (LogFull, BusUnavailable):
        assert not repeats
    assert repeats == (len(paused) == 1)
