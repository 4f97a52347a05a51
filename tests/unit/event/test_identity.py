from __future__ import annotations

import os
import string
import time
import uuid

import pytest

from celeriac.event import (
    derived_event_id,
    event_key,
    id_time_ms,
    is_unguessable,
    key_id,
    made_ms,
    new_event_id,
    new_event_ids,
    unpublished_event_id,
)
from celeriac.event.identity import SOURCE_LENGTH


def test_an_id_is_a_canonical_uuid_of_version_7() -> None:
    text = new_event_id()
    parsed = uuid.UUID(text)
    assert str(parsed) == text
    assert parsed.version == 7
    assert parsed.variant == uuid.RFC_4122


def test_an_id_holds_the_milliseconds_of_its_making() -> None:
    before = time.time_ns() // 1_000_000
    found = id_time_ms(new_event_id())
    after = time.time_ns() // 1_000_000
    assert found is not None
    assert before <= found <= after


def test_ids_do_not_repeat() -> None:
    assert len({new_event_id() for _ in range(20_000)}) == 20_000


def test_ids_made_together_differ_and_sort() -> None:
    ids = list(new_event_ids(500))
    assert len(set(ids)) == 500
    assert all(uuid.UUID(text).version == 7 for text in ids)
    assert [text[:18] for text in ids] == sorted(text[:18] for text in ids)


def test_ids_sort_by_the_time_of_their_making() -> None:
    ids: list[str] = []
    for _ in range(20):
        ids.append(new_event_id())
        time.sleep(0.000_01)
    assert ids == sorted(ids)


def test_forked_children_make_no_id_twice() -> None:
    seen: list[str] = []
    for _ in range(4):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(writer, " ".join(new_event_id()[19:] for _ in range(100)).encode())
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as pipe:
            seen += pipe.read().split()
        os.waitpid(child, 0)
    # the random part alone, since the clock differs between the children
    assert len(set(seen)) == len(seen) == 400


@pytest.mark.parametrize(
    "other",
    ["", "order-42", str(uuid.uuid4()), str(uuid.uuid1()), new_event_id() + "0"],
    ids=["empty", "word", "uuid4", "uuid1", "longer"],
)
def test_an_id_of_another_shape_has_no_time(other: str) -> None:
    assert id_time_ms(other) is None


def test_an_upper_case_uuid_has_its_time_too() -> None:
    assert id_time_ms("017F22E2-79B0-7CC3-98C4-DC0C0C07398F") == 0x017F22E279B0


def test_an_id_of_emit_is_known_again() -> None:
    for id in (new_event_id(), *new_event_ids(2)):
        assert made_ms(id) == id_time_ms(id)
        assert is_unguessable(id)


def test_an_id_of_an_event_that_is_published_later_is_none_of_emit() -> None:
    id = unpublished_event_id()
    assert uuid.UUID(id).version == 7 and uuid.UUID(id).variant == uuid.RFC_4122
    assert 0 == made_ms(id)
    assert is_unguessable(id)


@pytest.mark.parametrize(
    "id",
    [
        "",
        "order-42",
        "5f0c7a3e-91d4-4b57-8a55-2f6a1c0d9e11",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398f",
    ],
)
def test_another_id_is_none_of_emit(id: str) -> None:
    assert 0 == made_ms(id)
    assert not is_unguessable(id)


@pytest.mark.parametrize("id", ["a", "a b", "é" * 255, pytest.param(new_event_id(), id="new")])
def test_an_event_key_begins_with_the_id_and_ends_with_characters_of_base64url(id: str) -> None:
    key = event_key(id, "shop")
    assert (id, id) == (key[:-SOURCE_LENGTH], key_id(key))
    assert set(key[-SOURCE_LENGTH:]) <= {*string.ascii_letters, *string.digits, "-", "_"}


def test_an_event_key_is_the_same_in_every_process_and_version() -> None:
    """The key is stored, so every later computation must return the same one."""
    assert "ai4kL4SF3" == event_key("a", "shop")


@pytest.mark.parametrize("other", ["Shop", "shop ", "sho", "", "é", "shop" * 200])
def test_another_source_makes_another_key(other: str) -> None:
    assert event_key("a", "shop") != event_key("a", other)


def test_no_id_and_source_have_the_key_of_others() -> None:
    """The hash has a fixed length, so that no part of an id can be mistaken for it."""
    shop = event_key("a", "shop")
    assert shop != event_key(shop[:-1], "shop")
    keys = {event_key(id, source) for id in ("a", "ab", shop) for source in ("shop", "b", "ab")}
    assert 9 == len(keys)


def test_a_derived_id_is_the_same_for_the_same_parts_only() -> None:
    given = [("a", "b"), ("ab", ""), ("a", "b", ""), ("b", "a")]
    ids = {derived_event_id(*parts) for parts in given}
    assert len(ids) == 4
    assert derived_event_id("a", "b") in ids
    assert uuid.UUID(derived_event_id("a")).version == 8
    assert not is_unguessable(derived_event_id("a")) and made_ms(derived_event_id("a")) == 0
