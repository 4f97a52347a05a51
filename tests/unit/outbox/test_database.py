"""The URL of an outbox selects the database and a driver that blocks."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from celeriac import ConfigurationError
from celeriac.outbox import sql_database
from celeriac.outbox.database import open_database
from celeriac.outbox.django_database import DjangoDatabase
from celeriac.outbox.sql_database import readable


@pytest.mark.parametrize(
    ("url", "alias"), [("django:", "default"), ("django:default", "default"), ("django:log", "log")]
)
def test_django_is_named_by_its_alias(url: str, alias: str) -> None:
    database = open_database(url)
    assert isinstance(database, DjangoDatabase)
    assert database.using == alias


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("postgresql://h/d", "postgresql+psycopg://h/d"),
        ("postgres://h/d", "postgresql+psycopg://h/d"),
        ("postgresql+asyncpg://h/d", "postgresql+psycopg://h/d"),
        ("postgresql+psycopg_async://h/d", "postgresql+psycopg://h/d"),
        ("postgresql+pg8000://h/d", "postgresql+pg8000://h/d"),
        ("mysql://h/d", "mysql+pymysql://h/d"),
        ("mysql+aiomysql://h/d", "mysql+pymysql://h/d"),
        ("mariadb+asyncmy://h/d", "mariadb+pymysql://h/d"),
        ("mysql+mysqlconnector://h/d", "mysql+mysqlconnector://h/d"),
        ("sqlite+aiosqlite:///f", "sqlite:///f"),
        ("sqlite:///f", "sqlite:///f"),
    ],
)
def test_a_driver_for_asyncio_is_replaced_by_one_that_blocks(
    given: str, used: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = {"psycopg", "pymysql"}

    def find_spec(name: str) -> Any:
        return importlib.util.find_spec("os") if name in installed else None

    monkeypatch.setattr(sql_database, "find_spec", find_spec)
    assert readable(given).render_as_string(hide_password=False) == used


def test_an_invalid_url_is_refused_without_its_password() -> None:
    with pytest.raises(ConfigurationError, match="not a URL of SQLAlchemy") as refused:
        readable("postgresql//user:secret@host")
    assert "secret" not in str(refused.value)
