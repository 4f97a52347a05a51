"""Clients of Redis: how they are opened, how long calls are retried, how failures are reported."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    NoPermissionError,
    ResponseError,
)
from redis.retry import Retry as RedisRetry

from celeriac.errors import BusUnavailable, CeleriacError, ConfigurationError, LogFull
from celeriac.redis_url import ClusterURL, is_cluster, is_sentinel
from celeriac.redis_url import address as address  # for modules that open clients
from celeriac.settings import Settings
from celeriac.store.redis.client import DirectClient
from celeriac.store.redis.refusal import nothing_written, refusal_code, temporary_refusal

T = TypeVar("T")
Client = Any  # redis-py types each command as `Awaitable | value`, for both kinds of client at once

# The server is unreachable. Temporary refusals are in `refusal.TEMPORARY`.
AWAY = (redis.ConnectionError, redis.TimeoutError)
FINAL = (AuthenticationError, AuthorizationError)


def open_client(url: str, *, answer_within: float) -> Client:
    """Return a pooled client, safe to share between threads and over forks. Does not connect yet.

    A command without a reply after `answer_within` seconds raises redis.TimeoutError. The client
    retries nothing: `persist` does, with one limit for all tries together. For the URL of a cluster
    it is a ClusterClient, which has the same commands.
    """
    if is_cluster(url):
        from celeriac.store.redis.cluster.client import ClusterClient

        return ClusterClient(
            ClusterURL.parse(url), lambda node: _open_node(node, answer_within=answer_within)
        )
    if is_sentinel(url):
        from celeriac.store.redis.sentinel import open_sentinel

        base = _options(url, answer_within) | {"retry": RedisRetry(NoBackoff(), 0)}
        return open_sentinel(url, base)
    return _open_node(url, answer_within=answer_within)


def service_client(settings: Settings) -> Client:
    """Return the client of a service's event log, delivery store and registry, which share it.

    Does not connect yet. With one client, a silently dead connection costs one timeout, not four.
    """
    return open_client(settings.redis_url, answer_within=answer_time(settings))


def server_time_ms(client: Client) -> int:
    """Return the server's clock in ms since the epoch. Blocks for a round trip."""
    seconds, micros = client.time()
    return int(seconds) * 1000 + int(micros) // 1000


def answer_time(settings: Settings) -> float:
    """Return the seconds that one reply may take: half of `emit_timeout`, so that a frozen server
    leaves time for a second try."""
    return max(settings.emit_timeout / 2, 0.05)


def _open_node(url: str, *, answer_within: float) -> Client:
    try:
        return DirectClient.from_url(
            url, **_options(url, answer_within), retry=RedisRetry(NoBackoff(), 0)
        )
    except ValueError as error:
        raise ConfigurationError(f"CELERIAC_REDIS_URL={address(url)}: {error}") from None


def _options(url: str, answer_within: float) -> dict[str, Any]:
    options: dict[str, Any] = {
        "socket_timeout": answer_within,
        "socket_connect_timeout": answer_within,
        "health_check_interval": 0,
    }
    # redis-py's connection to a unix socket does not have this option.
    return options if url.startswith("unix://") else options | {"socket_keepalive": True}


def open_async_client(url: str, *, answer_within: float) -> Client:
    """Return a client as `open_client`, for asyncio. It belongs to the first loop that uses it."""
    if is_cluster(url):
        from celeriac.store.redis.cluster.async_client import AsyncClusterClient

        return AsyncClusterClient(
            ClusterURL.parse(url), lambda node: _open_async_node(node, answer_within=answer_within)
        )
    if is_sentinel(url):
        from redis.asyncio.retry import Retry as AsyncRetry

        from celeriac.store.redis.sentinel import open_async_sentinel

        base = _options(url, answer_within) | {"retry": AsyncRetry(NoBackoff(), 0)}
        return open_async_sentinel(url, base)
    return _open_async_node(url, answer_within=answer_within)


def _open_async_node(url: str, *, answer_within: float) -> Client:
    from redis.asyncio.retry import Retry as AsyncRetry

    from celeriac.store.redis.async_client import AsyncDirectClient

    return AsyncDirectClient.from_url(
        url, **_options(url, answer_within), retry=AsyncRetry(NoBackoff(), 0)
    )


def pauses(seconds: float) -> Callable[[], float | None]:
    """Return a new schedule of pauses between tries: 50 ms doubling to 1 s, with jitter.

    It returns None after `seconds` have passed since it was created.
    """
    started, pause = time.monotonic(), 0.05

    def following() -> float | None:
        nonlocal pause
        remaining = seconds - (time.monotonic() - started)
        if remaining <= 0:
            return None
        chosen = min(remaining, pause * random.uniform(0.5, 1.0))
        pause = min(1.0, pause * 2)
        return chosen

    return following


def persist(call: Callable[[], T], *, url: str, seconds: float, wait_for_memory: bool = False) -> T:
    """Return the call's result; repeat the call while Redis is unreachable or refuses temporarily.

    Blocks for at most `seconds` in total, plus the duration of the last try. The call must be safe
    to repeat. `wait_for_memory` also repeats it while Redis is over `maxmemory`. Raises the
    `explain` of the last failure.
    """
    pause_after = pauses(seconds)
    tries, unwritten = 0, True
    while True:
        tries += 1
        try:
            return call()
        except redis.RedisError as error:
            unwritten = unwritten and nothing_written(error)
            passes = is_transient(error) or (wait_for_memory and refusal_code(error) == "OOM")
            pause = pause_after() if passes else None
            if pause is None:
                raise explain(
                    error, url=url, tries=tries, seconds=seconds, unwritten=unwritten
                ) from error
            time.sleep(pause)


def is_transient(error: BaseException) -> bool:
    """Return whether the same call may succeed shortly."""
    if temporary_refusal(error):
        return True
    return isinstance(error, AWAY) and not isinstance(error, FINAL)


def is_refused(error: redis.RedisError) -> bool:
    """Return whether the server's ACL forbids the command, also within a script."""
    return isinstance(error, NoPermissionError) or any(
        text in str(error) for text in ("NOPERM", "ACL failure", "can't run this command")
    )


def explain(
    error: redis.RedisError,
    *,
    url: str,
    tries: int,
    seconds: float,
    unwritten: bool | None = None,
) -> CeleriacError:
    """Return an error that states what failed, the setting and the remedy.

    `unwritten` is whether no try can have written anything; by default the error decides.
    """
    unwritten = nothing_written(error) if unwritten is None else unwritten
    explained = _explained(error, url=url, tried=_tried(tries, seconds), unwritten=unwritten)
    if isinstance(explained, BusUnavailable):
        explained.nothing_written = unwritten
    return explained


def _tried(tries: int, seconds: float) -> str:
    return f"{tries} {'try' if tries == 1 else 'tries'} in {seconds:g} s"


def _explained(error: redis.RedisError, *, url: str, tried: str, unwritten: bool) -> CeleriacError:
    where = address(url)
    written = (
        "Nothing was written"
        if unwritten
        else "It may have been written: emit again with the same id"
    )
    if refusal_code(error) == "OOM":
        # LogFull promises that the event is not in the log.
        return (LogFull if unwritten else BusUnavailable)(
            f"Redis at {where} is full (maxmemory with noeviction) and refused the write. "
            f"{written}. Let handlers catch up (`celeriac lag`), shorten CELERIAC_RETENTION, or "
            "raise maxmemory"
        )
    if isinstance(error, FINAL):
        return BusUnavailable(
            f"Redis at {where} refused the login: {error}. Check user and password in "
            "CELERIAC_REDIS_URL"
        )
    if is_refused(error):
        return BusUnavailable(
            f"Redis at {where} forbids the command: {error}. The user in CELERIAC_REDIS_URL lacks "
            "a permission; `celeriac acl` prints what a service needs (--emits for its domains)"
        )
    if passing := temporary_refusal(error):
        return BusUnavailable(
            f"Redis at {where} refuses commands: it {passing} ({error}; {tried}). {written}. "
            "`celeriac doctor` shows the server's state; CELERIAC_EMIT_TIMEOUT sets how long to try"
        )
    if isinstance(error, ResponseError):
        return BusUnavailable(
            f"Redis at {where} refused the command: {error}. {written}. "
            "`celeriac doctor` checks its version and settings"
        )
    return BusUnavailable(
        f"cannot reach Redis at {where}: {str(error) or type(error).__name__} ({tried}). Is it up, "
        "and is CELERIAC_REDIS_URL right? CELERIAC_EMIT_TIMEOUT sets how long to try"
    )
