"""Errors of a database that lacks a table."""

from __future__ import annotations

import pytest

from celeriac.errors import ConfigurationError
from celeriac.missing_table import explained

TABLES = ("celeriac_process", "celeriac_process_steps")


@pytest.mark.parametrize(
    ("message", "table"),
    [
        ('relation "celeriac_process" does not exist', "celeriac_process"),
        ("no such table: celeriac_process_steps", "celeriac_process_steps"),
        ("Table 'shop.celeriac_process' doesn't EXIST", "celeriac_process"),
    ],
)
def test_the_missing_table_is_named_with_the_remedy(message: str, table: str) -> None:
    error = explained(ValueError(message), TABLES, "migrate", "process.md")
    assert isinstance(error, ConfigurationError)
    remedy = "Create it: migrate (docs/how-to/process.md)"
    assert f"the table {table} is missing. {remedy}" == str(error)


@pytest.mark.parametrize(
    "message",
    [
        "no such table: other",
        "celeriac_process is locked",
        "it does not exist",
        "INSERT INTO celeriac_process: Key (id)=(1) already exists.",
        "",
    ],
)
def test_another_error_stays_as_it_is(message: str) -> None:
    error = ValueError(message)
    assert error is explained(error, TABLES, "migrate", "process.md")
