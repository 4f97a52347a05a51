"""What a database server still does for connections that their client has closed."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from sqlalchemy import Engine, text
from sqlalchemy.ext.asyncio import AsyncEngine

BUSY = {
    "postgresql": (
        "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND pid <> pg_backend_pid() AND backend_type = 'client backend' AND state <> 'idle'"
    ),
    # It does not show which connections are in a transaction: all but the idle ones of the pool.
    "mysql": (
        "SELECT COUNT(*) - :idle FROM information_schema.processlist "
        "WHERE db = DATABASE() AND id <> CONNECTION_ID()"
    ),
}


async def until_transactions_end(engine: Engine, used: AsyncEngine) -> None:
    """Wait until the server has ended all transactions of `used`, which is idle.

    It may still execute the COMMIT of a cancelled coroutine, whose connection was closed.
    """
    pool: Any = used.pool
    busy = text(BUSY[engine.dialect.name])
    if ":idle" in busy.text:
        busy = busy.bindparams(idle=pool.checkedin())
    deadline = time.monotonic() + 20
    while True:
        with engine.begin() as connection:
            if connection.execute(busy).scalar_one() <= 0:
                return
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)
