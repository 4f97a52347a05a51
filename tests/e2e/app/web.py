"""A web application that emits in its transactions, with engine and tables made at import."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session

from celeriac import EventBus
from celeriac.outbox import create_outbox

bus = EventBus(service="web")
engine = create_engine(os.environ["DATABASE_URL"])
create_outbox(engine)
with engine.begin() as connection:
    connection.execute(text("CREATE TABLE IF NOT EXISTS purchase (number INTEGER, pid INTEGER)"))


def application(request: dict[str, Any], respond: Callable[..., Any]) -> Iterable[bytes]:
    """Stores the order that the query names, and emits it."""
    row = {"number": int(request["QUERY_STRING"]), "pid": os.getpid()}
    with Session(engine) as session, session.begin():
        session.execute(text("INSERT INTO purchase VALUES (:number, :pid)"), row)
        bus.emit("order.placed", row["number"], session=session)
    respond("200 OK", [("Content-Type", "text/plain")])
    return [b"placed"]
