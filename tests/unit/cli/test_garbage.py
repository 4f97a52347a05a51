"""Garbage in each shared key stops no reading command, page or worker, and doctor names the key."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
import redis
from click.testing import CliRunner

from celeriac import BusUnavailable
from celeriac.cli.root import main
from celeriac.cli.session import Session
from celeriac.delivery.run_record import RunOutcome
from celeriac.flower.view.home import read_home
from celeriac.flower.view.services import read_services
from celeriac.settings import Settings
from celeriac.store.factory import redis_backend
from celeriac.store.redis.keys import Keys
from celeriac.tracking import Matrix
from tests.unit.cli.conftest import refuse
from tests.unit.tracking.shop import Shop

DOMAIN, HANDLER = "order", "billing.charge"
BINARY = b"\xff\xfe\x1b[2J"


@pytest.fixture
def settings(redis_url: str, namespace: str) -> Settings:
    return Settings.load({}, redis_url=redis_url, namespace=namespace)


def started(settings: Settings) -> Shop:
    """A service with a healthy handler, and one that fails, and a shared key of each kind."""
    shop = Shop(redis_backend(settings), settings)
    shop.on("billing.charge", "order.placed", retries=0, function=refuse)
    shop.on("mail.send", "mail.wanted")
    shop.start()
    shop.dispatch()
    return shop


@pytest.fixture
def shop(settings: Settings) -> Shop:
    shop = started(settings)
    shop.emit("order.placed", id="one")
    shop.emit("mail.wanted", id="two")
    shop.emit("order.placed", id="later", delay=3600)
    shop.run_until_idle()
    return shop


def keys_of(settings: Settings) -> dict[str, str]:
    """Every key that is read, by the name of its method."""
    keys = Keys(settings.namespace)
    found = {
        "domains": keys.domains, "handlers": keys.handlers,
        "workers": keys.workers, "circuits": keys.circuits, "relayed": keys.relayed,
    }  # fmt: skip
    for name in (
        "events",
        "delayed",
        "emitted",
        "dead",
        "dead_groups",
        "dead_newest",
        "audit",
        "sources",
    ):
        found[name] = getattr(keys, name)(DOMAIN)
    for name in ("scheduled", "counters", "patterns", "stats"):
        found[name] = getattr(keys, name)(DOMAIN, HANDLER)
    for name in ("matrix", "failures", "emitted_events"):
        found[name] = getattr(keys, name)(DOMAIN, HANDLER)[0]
    return found


NAMES = [
    "domains", "handlers", "workers", "circuits", "relayed", "events", "delayed",
    "emitted", "dead", "dead_groups", "dead_newest", "audit", "sources", "scheduled", "counters",
    "patterns", "stats", "matrix", "failures", "emitted_events",
]  # fmt: skip
COMMANDS = [
    ["lag"], ["doctor"], ["handlers"], ["workers"], ["status", "one"], ["status", "later"],
    ["events"], ["dead", "list"], ["trace", "one"], ["history", "one"], ["explain", "one"],
    ["explain", "later"], ["explain", "nothing"], ["explain", "one", HANDLER],
]  # fmt: skip


def spoil(client: Any, key: str) -> None:
    """Garbage of the type that is there."""
    kind = client.type(key).decode()
    if kind == "hash":
        fields = {BINARY: BINARY, "x": "[" * 2000, "y": json.dumps({"id": "y", "state": 7})}
        fields |= dict.fromkeys(client.hkeys(key), b"\xff{")
        client.hset(key, mapping=fields)
    elif kind == "set":
        client.sadd(key, BINARY, "a b", "x" * 300)
    elif kind == "zset":
        client.zadd(key, {BINARY: float("inf"), "y": -1e300, "z": 1e18})
    elif kind == "stream":
        client.xadd(key, {BINARY: BINARY})
    else:
        client.set(key, BINARY)


def read_everything(settings: Settings) -> dict[str, str]:
    """Command → what it printed. None gives a traceback."""
    said = {}
    for arguments in COMMANDS:
        for form in ([], ["--json"]):
            backend = redis_backend(settings)
            answer = CliRunner().invoke(main, [*arguments, *form], obj=Session(settings, backend))
            ended = answer.exception is None or isinstance(answer.exception, SystemExit)
            assert ended, (arguments, answer.exc_info)
            said[" ".join([*arguments, *form])] = answer.output
    matrix = Matrix(redis_backend(settings))
    read_services(matrix)
    read_home(matrix)
    matrix.events()
    matrix.totals()
    return said


@pytest.mark.parametrize("name", NAMES)
def test_a_key_of_another_type(shop: Shop, settings: Settings, name: str) -> None:
    key = keys_of(settings)[name]
    client: Any = redis.Redis.from_url(settings.redis_url)
    client.delete(key)
    if name in ("patterns", "relayed"):
        client.lpush(key, "x")
    else:
        client.set(key, "x")
    said = read_everything(settings)
    if name != "relayed":  # written alone
        assert key in said["doctor"]
        assert "must be a" in said["doctor"] or "another type" in said["doctor"]
    works(settings, client, name)


@pytest.mark.parametrize("name", NAMES)
def test_garbage_of_the_right_type(shop: Shop, settings: Settings, name: str) -> None:
    key = keys_of(settings)[name]
    client: Any = redis.Redis.from_url(settings.redis_url)
    spoil(client, key)
    said = read_everything(settings)
    if name in ("domains", "handlers", "workers", "circuits", "delayed", "stats", "counters"):
        assert key in said["doctor"], said["doctor"]
    works(settings, client, name)


def works(settings: Settings, client: Any, name: str) -> None:
    """A worker that starts now serves its handlers; those of other keys in any case."""
    shop = started(settings)
    shop.emit("mail.wanted", id="three")
    if name != "events":
        shop.emit("order.placed", id="four")
    shop.dispatch()
    for _ in range(len(shop.chunks)):
        with suppress(BusUnavailable):  # one task fails; its lease gives the delivery to another
            some, shop.chunks = shop.chunks, []
            shop.chunks, waiting = some[:1], some[1:]
            try:
                shop.run()
            finally:
                shop.chunks = waiting
    [group] = [g.group for g in shop.dispatchers["mail"]._groups if g.group.domain == "mail"]
    [newest] = shop.backend.event_log.read("mail", count=1, newest_first=True)
    [run] = shop.backend.chunks.runs(group, [newest.id])
    assert run is not None
    assert run.outcome is RunOutcome.PROCESSED
    client.close()
