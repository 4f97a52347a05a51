"""Connections of Django that are opened before a fork."""

from __future__ import annotations

import pytest
from django.db import connection, transaction

from celeriac.contrib.django.models import OutboxRow
from tests.unit.test_fork import in_child

SERVER_SIDE = {
    "postgresql": "SELECT pg_backend_pid()",
    "mysql": "SELECT CONNECTION_ID()",
}


def row(id: str) -> None:
    OutboxRow.objects.create(event_id=id, domain="order", body=b"", created_ms=0)


def rows() -> list[str]:
    return sorted(OutboxRow.objects.values_list("event_id", flat=True))


def test_a_child_opens_its_own_connection_and_the_parent_keeps_its_own() -> None:
    row("parent")
    inherited = connection.connection

    def has_its_own() -> bool:
        row("child")
        return connection.connection is not inherited

    assert in_child(has_its_own)
    assert inherited is connection.connection
    assert ["child", "parent"] == rows(), "usable after the child has ended"


def test_the_server_sees_two_connections() -> None:
    query = SERVER_SIDE.get(connection.vendor)
    if query is None:
        pytest.skip("SQLite has no server")

    def number() -> int:
        with connection.cursor() as cursor:
            cursor.execute(query)
            return int(cursor.fetchone()[0])

    before = number()
    assert in_child(lambda: number() != before)
    assert before == number()


def test_a_child_has_no_part_in_the_transaction_of_its_parent() -> None:
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    ran: list[str] = []

    def commits_by_itself() -> bool:
        row("child")
        return not connection.in_atomic_block

    with transaction.atomic():
        row("parent")
        transaction.on_commit(lambda: ran.append("hook"))
        assert in_child(commits_by_itself)
        transaction.set_rollback(True)
    assert ([], ["child"]) == (ran, rows())
