"""The key of an event."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from celeriac.flow_control import MAX_BLOCKED, MAX_BLOCKED_FAIR, ORDERED, FlowControl, key_of

EVENT: dict[str, Any] = {
    "subject": "order/1",
    "partitionkey": "p",
    "tenant": 7,
    "data": {"tenant": "acme", "org": {"id": 42, "rate": 0.5, "free": True, "tags": ["a"]}},
}


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("subject", "order/1"),
        ("partitionkey", "p"),
        ("tenant", "7"),
        ("data.tenant", "acme"),
        ("data.org.id", "42"),
        ("data.org.rate", "0.5"),
        ("data.org.free", "true"),
        ("data.org", ""),
        ("data.org.tags", ""),
        ("data.org.tags.0", ""),
        ("data.nothing", ""),
        ("data.tenant.deeper", ""),
    ],
)
def test_the_key_is_what_the_path_leads_to(path: str, key: str) -> None:
    assert key == key_of(EVENT, path)


def test_the_partition_key_replaces_a_missing_subject() -> None:
    assert "p" == key_of({"partitionkey": "p"}, "subject")
    assert "p" == key_of({"subject": None, "partitionkey": "p"}, "subject")
    assert "" == key_of({"subject": 7}, "subject")


@pytest.mark.parametrize("event", [None, [], "text", {}, {"data": "sealed"}])
def test_what_has_no_key_shares_the_empty_one(event: Any) -> None:
    assert "" == key_of(event, "subject") == key_of(event, "data.tenant")


@pytest.mark.parametrize("value", ["x" * 121, "a\0b"])
def test_a_key_that_cannot_be_stored_is_stored_as_its_digest(value: str) -> None:
    assert hashlib.sha1(value.encode()).hexdigest() == key_of({"subject": value}, "subject")


def test_order_is_one_at_a_time_by_subject() -> None:
    assert ("subject", True, 1) == (ORDERED.key, ORDERED.ordered, ORDERED.concurrency)


def test_turns_reach_further_than_order() -> None:
    assert MAX_BLOCKED == ORDERED.max_blocked
    assert MAX_BLOCKED_FAIR == FlowControl(fair=True).max_blocked
    assert MAX_BLOCKED_FAIR == FlowControl(quiet_ms=1, max_quiet_ms=1).max_blocked
