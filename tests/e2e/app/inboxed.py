"""Handlers whose effects go into a database: rows of a table that has no unique key.

Effects that a handler had twice are there twice, unless its inbox prevents it.
"""

from __future__ import annotations

import os
import time
from typing import Any

from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import NullPool

from celeriac import Event, EventBus
from celeriac.inbox import create_inbox
from celeriac.outbox import create_outbox

URL = os.environ["DATABASE_URL"]
OPTIONS: dict[str, Any] = {"connect_args": {"timeout": 60}} if "sqlite" in URL else {}
EFFECT = text("INSERT INTO effect (handler, event_id) VALUES (:handler, :id)")
RETRIES: dict[str, Any] = {"retries": 200, "backoff": 0.05, "max_backoff": 0.5}

bus = EventBus(lease=float(os.environ.get("LEASE", "2")))
app = bus.app

engine = create_engine(URL, **OPTIONS)
# At import, as docs/how-to/inbox.md has it: the pool holds a connection when the workers fork.
create_inbox(engine)
create_outbox(engine)
Sessions = sessionmaker(engine)
AsyncSessions = async_sessionmaker(
    create_async_engine(
        URL.partition("?")[0].replace("sqlite:", "sqlite+aiosqlite:").replace("pymysql", "asyncmy"),
        poolclass=NullPool,
        **OPTIONS,
    )
)


@bus.on("order.placed", inbox=Sessions, **RETRIES)
def charge(event: Event[Any], session: Session) -> None:
    session.execute(EFFECT, {"handler": "charge", "id": event.id})
    time.sleep(0.002)


@bus.on("order.placed", inbox=AsyncSessions, **RETRIES)
async def acharge(event: Event[Any], session: AsyncSession) -> None:
    await session.execute(EFFECT, {"handler": "acharge", "id": event.id})


@bus.on("order.placed", inbox=Sessions, batch=20, **RETRIES)
def store(events: list[Event[Any]], session: Session) -> None:
    session.execute(EFFECT, [{"handler": "store", "id": event.id} for event in events])
    time.sleep(0.005)


@bus.on("order.placed", inbox=Sessions, **RETRIES)
def follow(event: Event[Any], session: Session) -> None:
    """Its event follows if and only if its effect is there."""
    session.execute(EFFECT, {"handler": "follow", "id": event.id})
    bus.emit("followed.order", event.id, session=session)
