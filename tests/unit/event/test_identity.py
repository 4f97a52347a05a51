from __future__ import annotations

import os
import time
import uuid

import pytest

from celeriac.event import id_time_ms, new_event_id, new_event_ids


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
    "other", ["", "order-42", str(uuid.uuid4()), str(uuid.uuid1()), new_event_id() + "0"]
)
def test_an_id_of_another_shape_has_no_time(other: str) -> None:
    assert id_time_ms(other) is None


def test_an_upper_case_uuid_has_its_time_too() -> None:
    assert id_time_ms("017F22E2-79B0-7CC3-98C4-DC0C0C07398F") == 0x017F22E279B0
