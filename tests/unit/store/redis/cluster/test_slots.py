"""Which node serves a key."""

from __future__ import annotations

import pytest
from redis.crc import key_slot

from celeriac.store.redis.cluster.command import is_script, key_of
from celeriac.store.redis.cluster.slots import SlotMap
from celeriac.store.redis.cluster.wakeup import by_slot, newest
from celeriac.store.redis.keys import Keys

ANSWER = [
    [5461, 10922, [b"10.0.0.2", 7001, b"id2", []], [b"10.0.0.5", 7005, b"id5", []]],
    [0, 5460, [None, 7000, b"id1", []]],
    [10923, 16000, [b"", 7002, b"id3", []]],
]
SLOTS = SlotMap.parse(ANSWER, ("seed", 7000))


def test_a_key_is_served_by_the_master_of_its_slot() -> None:
    assert SLOTS.node_of("foo") == ("seed", 7002)  # slot 12182
    assert SLOTS.node_of(b"{foo}:x") == SLOTS.node_of("foo")
    assert SLOTS.node_of("bar") == ("seed", 7000)  # slot 5061
    assert SLOTS.node_of("hello") == ("seed", 7000)  # slot 866


def test_a_node_without_a_name_is_the_one_that_replied() -> None:
    assert set(SLOTS.masters) == {("seed", 7000), ("10.0.0.2", 7001), ("seed", 7002)}


def test_a_slot_that_is_not_served_has_no_node() -> None:
    beyond = next(key for key in map(str, range(10_000)) if key_slot(key.encode()) > 16_000)
    assert SLOTS.node_of(beyond) is None
    assert SlotMap().node_of("foo") is None


def test_all_keys_of_a_domain_are_in_one_slot() -> None:
    keys = Keys("celeriac")
    streams = {keys.events("order"): "1-0", keys.wakeup("order"): "0-0", keys.dead("order"): "0-0"}
    assert len(by_slot(streams)) == 1


def test_of_too_many_slots_the_latest_are_returned() -> None:
    slots = {1: {"a": "5-0"}, 2: {"b": "90-0", "c": "0-0"}, 3: {"d": "100-7"}}
    assert newest(slots, 3) is slots
    assert set(newest(slots, 2)) == {2, 3}


@pytest.mark.parametrize(
    ("args", "key"),
    [
        (("XADD", "a", "*"), "a"),
        (("XINFO GROUPS", "a"), "a"),
        (("EVALSHA", "digest", 1, "a", "b"), "a"),
        ((b"get", b"a"), b"a"),
        (("XREAD", "COUNT", 2, "STREAMS", "a", "b", "0-0", "0-0"), "a"),
    ],
)
def test_a_command_names_its_key(args: tuple[object, ...], key: object) -> None:
    assert key_of(args) == key


def test_a_command_without_a_key_goes_nowhere() -> None:
    with pytest.raises(ValueError, match="RANDOMKEY names no key"):
        key_of(("RANDOMKEY",))


def test_only_scripts_touch_keys_that_they_do_not_name() -> None:
    assert is_script(("evalsha", "d", 1, "k"))
    assert not is_script(("XADD", "k"))
