"""The SQL of the outbox, and errors that it explains."""

from __future__ import annotations

import pytest

from celeriac import ConfigurationError
from celeriac.outbox import statement


def test_statements_name_each_row_and_each_excluded_domain() -> None:
    assert {"i0": 7, "i1": 9} == statement.numbered([7, 9])
    assert {"d0": "a", "d1": "b"} == statement.excluded(["a", "b"])
    assert statement.sizes(2).endswith(
        "failed_ms IS NULL AND domain NOT IN (:d0, :d1) ORDER BY id LIMIT :max_rows"
    )
    assert statement.sizes(0).endswith("failed_ms IS NULL ORDER BY id LIMIT :max_rows")
    assert statement.fetch(2).endswith("failed_ms IS NULL AND id IN (:i0, :i1) ORDER BY id")
    assert "DELETE FROM celeriac_outbox WHERE id IN (:i0)" == statement.delete(1)


@pytest.mark.parametrize("make", [statement.failed_among, statement.retry, statement.discard])
def test_only_failed_rows_are_changed_by_their_ids(make: object) -> None:
    sql = make([7, 9])  # type: ignore[operator]
    assert sql.endswith("WHERE failed_ms IS NOT NULL AND id IN (:i0, :i1)")


@pytest.mark.parametrize(
    "message",
    [
        'relation "celeriac_outbox" does not exist',
        "no such table: celeriac_outbox",
        "Table 'shop.celeriac_outbox' doesn't EXIST",
    ],
)
def test_a_missing_table_is_an_error_with_the_remedy(message: str) -> None:
    explained = statement.explained(ValueError(message), "migrate")
    assert isinstance(explained, ConfigurationError)
    assert "the table celeriac_outbox is missing. Create it: migrate (" in str(explained)


def test_relays_of_all_versions_take_the_same_lock() -> None:
    """During a rolling deployment, relays of two versions run on one database."""
    lock = "CONCAT('celeriac.', SHA1(DATABASE()))"
    assert {
        "postgresql": "SELECT pg_try_advisory_xact_lock(1667591269, hashtext(current_schema()))",
        "mysql": f"SELECT GET_LOCK({lock}, 0)",
    } == statement.LOCKS
    assert f"SELECT RELEASE_LOCK({lock})" == statement.RELEASE_LOCK
