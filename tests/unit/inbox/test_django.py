"""The inbox on connections of Django, without a site. Sites run in contrib/django."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import DatabaseError

from celeriac import ConfigurationError
from celeriac.inbox import DjangoInbox, statement
from celeriac.inbox.django import mark_processed, prune
from tests.logged import messages_of
from tests.unit.outbox.django_connection import DjangoConnection

KEYS = [("a", "order"), ("b", "order"), ("c", "stock")]


@pytest.mark.parametrize("vendor", ["postgresql", "sqlite"])
def test_new_keys_are_returned_by_one_statement(vendor: str) -> None:
    connection = DjangoConnection(vendor, [("c", "stock"), ("a", "order")])
    assert [("c", "stock"), ("a", "order")] == mark_processed(connection, "b.charge", KEYS)
    [(sql, _)] = connection.executed
    assert sql.endswith("RETURNING event_key, domain")


def test_many_keys_are_inserted_in_several_statements(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statement, "MAX_ROWS", 2)
    connection = DjangoConnection("postgresql", [("a", "order")])
    assert [("a", "order")] * 2 == mark_processed(connection, "b.charge", KEYS)
    assert 2 == len(connection.executed)


def test_on_mysql_each_key_is_a_statement_whose_row_count_shows_whether_it_is_new() -> None:
    connection = DjangoConnection("mysql", rowcounts=[1, 0, 1])
    assert [KEYS[0], KEYS[2]] == mark_processed(connection, "b.charge", KEYS)
    assert ["a", "b", "c"] == [parameters["e0"] for _, parameters in connection.executed]
    assert all(sql.startswith("INSERT IGNORE") for sql, _ in connection.executed)


def test_another_database_is_refused_before_a_statement() -> None:
    connection = DjangoConnection("oracle")
    with pytest.raises(ConfigurationError, match="does not support oracle"):
        mark_processed(connection, "b.charge", KEYS)
    assert [] == connection.executed


@pytest.mark.parametrize(
    ("message", "remedy"),
    [("no such table: celeriac_inbox", "python manage.py migrate"), ("is locked", None)],
)
def test_a_missing_table_is_an_error_with_the_remedy(message: str, remedy: str | None) -> None:
    connection = DjangoConnection("mysql")
    connection.error = DatabaseError(message)
    with pytest.raises((ConfigurationError, DatabaseError)) as raised:
        mark_processed(connection, "b.charge", KEYS)
    assert (raised.value is connection.error) if remedy is None else remedy in str(raised.value)


@pytest.mark.parametrize(
    ("rows", "up_to", "is_more"), [([], 899_999, False), ([(7, 8)], 7, True), ([(0,)], 0, True)]
)
def test_old_rows_are_deleted_up_to_a_bound(
    monkeypatch: pytest.MonkeyPatch, rows: list[Any], up_to: int, is_more: bool
) -> None:
    monkeypatch.setattr("time.time", lambda: 1000.0)
    connection = DjangoConnection("mysql", rows)
    assert is_more is prune(connection, 100_000)
    (_, limits), (deletion, parameters) = connection.executed
    assert {"before": 900_000, "max_rows": statement.PRUNE_ROWS} == limits
    assert deletion.startswith("DELETE FROM celeriac_inbox")
    assert {"up_to": up_to} == parameters


def test_a_prune_that_fails_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(using: str) -> None:
        raise DatabaseError(f"{using} is locked")

    monkeypatch.setattr("celeriac.inbox.django.atomic", fail)
    monkeypatch.setattr("django.db.connections", {})
    DjangoInbox("other")._prune(5)
    assert ["celeriac: old rows of celeriac_inbox were not deleted: other is locked"] == (
        messages_of(caplog, statement)
    )


def test_it_shows_its_database() -> None:
    assert "DjangoInbox(using='other')" == repr(DjangoInbox("other"))
    assert (False, "") == (DjangoInbox.is_async, DjangoInbox.session_kind)
