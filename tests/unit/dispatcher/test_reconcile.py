"""How the record of a handler is corrected when versions of its code come and go, as tables."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from celeriac.dispatcher.versions import (
    MAX_RETIRED,
    RETIRE_AFTER_MS,
    interests_of,
    interests_served,
    marks_in_force,
    patterns_in_force,
    reconcile,
)
from celeriac.registry import HandlerRecord, WorkerRecord

NOW = 1_000_000
LEFT = NOW - RETIRE_AFTER_MS


def record(*patterns: str, **fields: Any) -> HandlerRecord:
    return HandlerRecord(
        id="billing.take", service="billing", patterns=patterns, queue="billing", **fields
    )


def reconciled(
    stored: HandlerRecord, *served: str, code: tuple[str, ...] = ("a.b",), **registered: Any
) -> dict[str, Any]:
    """Return the fields that changed."""
    code_record = record(*code, **registered)
    after = reconcile(stored, code_record, code, {*code, *served}, NOW)
    before = msgspec.structs.asdict(stored)
    return {
        name: value
        for name, value in msgspec.structs.asdict(after).items()
        if value != before[name]
    }


CASES: list[tuple[str, HandlerRecord, tuple[str, ...], dict[str, Any]]] = [
    # what is shown                     stored                      served by others    changes
    ("nothing differs",                 record("a.b"),              (),                 {}),
    ("another version is there",        record("a.b", "c.d"),       ("c.d",),           {}),
    ("another version left",            record("a.b", "c.d"),       (),
     {"leaving": {"c.d": NOW}}),
    ("it left before",                  record("a.b", "c.d", leaving={"c.d": LEFT + 1}), (), {}),
    ("it left ten minutes ago",         record("a.b", "c.d", leaving={"c.d": LEFT}), (),
     {"patterns": ("a.b",), "leaving": {}, "retired": {"c.d": NOW}}),
    ("it came back",                    record("a.b", "c.d", leaving={"c.d": LEFT}), ("c.d",),
     {"leaving": {}}),
    ("a retired pattern came back",     record("a.b", "c.d", retired={"c.d": 5, "e.f": 6}),
     ("c.d",), {"retired": {"e.f": 6}}),
    ("only the order differs",          record("c.d", "a.b"),       ("c.d",),           {}),
    ("a tenant is served",              record("a.b", tenants=("@x",)), ("@x",),
     {"tenants": ("@", "@x")}),
    ("a tenant left",                   record("a.b", tenants=("@", "@x")), (),
     {"leaving": {"@x": NOW}}),
    ("a tenant left ten minutes ago",   record("a.b", tenants=("@", "@x"), leaving={"@x": LEFT}),
     (), {"tenants": (), "leaving": {}}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("stored", "served", "changes"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_the_record_is_corrected(
    stored: HandlerRecord, served: tuple[str, ...], changes: dict[str, Any]
) -> None:
    assert changes == reconciled(stored, *served)


def test_a_pattern_that_another_worker_wrote_over_is_in_force_again_with_its_domains() -> None:
    stored = record("c.d", since={"c": "5-0", "a": "7-0"})
    since = {"a": "1-0", "b": "2-0"}
    assert {"patterns": ("a.b", "c.d"), "since": {"a": "7-0", "b": "2-0", "c": "5-0"}} == (
        reconciled(stored, "c.d", since=since)
    )


def test_without_a_new_pattern_the_domains_stay_as_they_are() -> None:
    assert {} == reconciled(record("a.b", since={"a": "5-0"}), since={"z": "1-0"})


def test_the_time_of_an_added_pattern_is_kept_while_it_is_in_force() -> None:
    stored = record("a.b", "c.d", added={"c.d": 4, "z.z": 5})
    changes = reconciled(stored, "c.d", added={"a.b": 3, "c.d": 1})
    assert {"added": {"a.b": 3, "c.d": 4}} == changes


def test_the_latest_retired_patterns_are_remembered() -> None:
    assert 20 == MAX_RETIRED
    retired = {f"p.{n}": n for n in range(25, 0, -1)}
    kept = reconciled(record("a.b", retired=retired))["retired"]
    assert [f"p.{n}" for n in range(6, 26)] == list(kept)


def worker(name: str, beat_ms: int, *patterns: str, tenants: tuple[str, ...] = ()) -> WorkerRecord:
    return WorkerRecord(
        name=name, service="billing", hostname="h", pid=1, pool="solo", processes=1,
        queues=("billing",), handlers=("billing.take",), patterns={"billing.take": patterns},
        tenants={"billing.take": tenants} if tenants else {}, version="0", beat_ms=beat_ms,
    )  # fmt: skip


def test_the_interests_of_living_workers_are_served() -> None:
    workers = [
        worker("a", NOW - 15_000, "a.b", tenants=("@x",)),
        worker("b", NOW, "c.d"),
        worker("c", NOW - 15_001, "e.f"),
    ]
    assert {"a.b", "@x", "c.d", "@"} == interests_served(workers, "billing.take", NOW)


def test_a_worker_without_the_handler_has_no_interests() -> None:
    assert frozenset() == interests_of(worker("a", NOW, "a.b"), "billing.other")
    assert frozenset() == interests_served([worker("a", NOW, "a.b")], "billing.other", NOW)


def test_the_patterns_of_this_code_come_first() -> None:
    assert ("a.b", "c.d") == patterns_in_force(["a.b", "c.d"], None)
    assert ("a.b", "c.d", "e.f") == patterns_in_force(["a.b", "c.d"], record("e.f", "a.b"))


@pytest.mark.parametrize(
    ("code", "known", "marks"),
    [
        (("a.b",), None, ()),
        (("a.b", "@x"), None, ("@x",)),
        (("a.b", "@x"), record("a.b", tenants=("@y",)), ("@x", "@y")),
        (("a.b",), record("a.b", tenants=("@y",)), ("@", "@y")),
        (("a.b", "@x"), record("a.b"), ("@", "@x")),
    ],
)
def test_the_marks_of_all_versions_are_in_force(
    code: tuple[str, ...], known: HandlerRecord | None, marks: tuple[str, ...]
) -> None:
    assert marks == marks_in_force(code, known)
