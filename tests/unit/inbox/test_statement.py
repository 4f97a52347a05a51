"""When old rows of the inbox are deleted."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from celeriac import ConfigurationError
from celeriac.inbox import statement
from celeriac.inbox.statement import PRUNE_AGAIN, PRUNE_EVERY, PruneSchedule


def test_rows_are_pruned_at_an_interval_that_is_shorter_while_old_rows_remain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(statement, "time", SimpleNamespace(monotonic=lambda: clock.now))
    schedule = PruneSchedule()
    assert schedule.due()
    assert not schedule.due()
    clock.now += PRUNE_EVERY
    assert schedule.due()
    schedule.expedite()
    assert not schedule.due()
    clock.now += PRUNE_AGAIN
    assert schedule.due()
    clock.now += PRUNE_AGAIN
    assert not schedule.due()


@pytest.mark.parametrize(
    "message",
    [
        'relation "celeriac_inbox" does not exist',
        "no such table: celeriac_inbox",
        "Table 'shop.celeriac_inbox' doesn't EXIST",
    ],
)
def test_a_missing_table_is_an_error_with_the_remedy(message: str) -> None:
    explained = statement.explained(ValueError(message), "migrate")
    assert isinstance(explained, ConfigurationError)
    assert "the table celeriac_inbox is missing. Create it: migrate (" in str(explained)


@pytest.mark.parametrize(
    ("dialect", "sql"),
    [
        ("postgresql", "INSERT INTO {} ON CONFLICT DO NOTHING RETURNING event_key, domain"),
        ("sqlite", "INSERT INTO {} ON CONFLICT DO NOTHING RETURNING event_key, domain"),
        ("mysql", "INSERT IGNORE INTO {}"),
        ("mariadb", "INSERT IGNORE INTO {}"),
    ],
)
def test_keys_are_inserted_unless_they_exist(
    monkeypatch: pytest.MonkeyPatch, dialect: str, sql: str
) -> None:
    monkeypatch.setattr("time.time", lambda: 1000.0005)
    statement.check_dialect(dialect)
    values = "(:e0, :d0, :handler, :at_ms), (:e1, :d1, :handler, :at_ms)"
    columns = f"celeriac_inbox (event_key, domain, handler, at_ms) VALUES {values}"
    parameters = {"handler": "b.h", "at_ms": 1_000_000, "e0": "a", "d0": "x", "e1": "b", "d1": "y"}
    assert (sql.format(columns), parameters) == statement.insert(
        dialect, "b.h", [("a", "x"), ("b", "y")]
    )
