"""The database of orders: `Sessions` makes the sessions of its process.

CELERIAC_OUTBOX_URL is its URL, so that the workers of orders also relay its outbox. Workers on
several hosts share a PostgreSQL: `postgresql+psycopg://…`. The demo uses SQLite.
"""

from __future__ import annotations

from typing import Any

from celery.signals import celeryd_init
from sqlalchemy import create_engine, event
from sqlalchemy.orm import sessionmaker

from celeriac.process import create_processes
from config.celery import bus

URL = bus.settings.outbox_url
# Imports without a database are for checks of the code. They open no connection.
engine = create_engine(URL or "sqlite://", pool_pre_ping=True)
Sessions = sessionmaker(engine)


@celeryd_init.connect
def create_tables(**_: Any) -> None:
    """Create the missing tables before the worker forks."""
    if not URL:
        raise SystemExit(
            "CELERIAC_OUTBOX_URL is not set. Set it to the database of orders, for example "
            "postgresql+psycopg://shop:PASSWORD@db/shop"
        )
    create_processes(engine)


if engine.dialect.name == "sqlite":

    @event.listens_for(engine, "connect")
    def write_ahead(connection: Any, _: Any) -> None:
        """Commit without waiting for the disk: only a power failure loses the latest commits."""
        cursor = connection.cursor()
        cursor.execute("PRAGMA busy_timeout=30000")
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.close()
