"""The names of keys in Redis, which producers in other languages and people rely on."""

from __future__ import annotations

import pytest
from redis.crc import key_slot

from celeriac.store.redis.keys import Keys


def test_keys_begin_with_the_namespace() -> None:
    assert "celeriac:{order}:events" == Keys().events("order")
    assert "shop:{order}:events" == Keys("shop").events("order")
    assert "celeriac:domains" == Keys().domains
    assert "celeriac:handlers" == Keys().handlers
    assert "celeriac:workers" == Keys().workers


def test_the_keys_of_a_handler_in_a_domain() -> None:
    keys = Keys()
    assert "celeriac:{order}:scheduled:billing.charge" == keys.scheduled("order", "billing.charge")
    assert "celeriac:{order}:matrix:billing.charge" == keys.matrix("order", "billing.charge")[0]
    assert "celeriac:{order}:failures:b.c:older" == keys.failures("order", "b.c")[1]
    assert "celeriac:{order}:stats:b.c" == keys.stats("order", "b.c")
    assert "celeriac:{order}:emitted_events:b.c" == keys.emitted_events("order", "b.c")[0]
    assert "celeriac:{order}:counters:b.c" == keys.counters("order", "b.c")
    assert "celeriac:{order}:counters:b.c:29733000" == keys.counters("order", "b.c", 29733000)


@pytest.mark.parametrize("name", ["events", "delayed", "emitted", "dead", "wakeup", "sources"])
def test_every_key_of_a_domain_begins_with_its_base(name: str) -> None:
    keys = Keys("shop")
    assert f"{keys.base('order')}{name}" == getattr(keys, name)("order")


def test_everything_of_a_domain_is_in_one_slot_of_a_cluster() -> None:
    keys = Keys()
    of_order = [
        keys.base("order"), keys.events("order"), keys.delayed("order"), keys.dead("order"),
        keys.wakeup("order"), keys.scheduled("order", "b.c"), *keys.matrix("order", "b.c"),
        *keys.failures("order", "b.c"), keys.stats("order", "b.c"),
    ]  # fmt: skip
    assert 1 == len({key_slot(key.encode()) for key in of_order})
    assert key_slot(keys.events("order").encode()) != key_slot(keys.events("payment").encode())
