"""Any order of commits, rollbacks, passes, refusals and crashes: no event is lost or reordered."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest
import redis
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import StaticPool

from celeriac import EventBus, Settings
from celeriac.event import decode
from celeriac.event_log import Item
from celeriac.outbox import create_outbox
from celeriac.outbox import relay as relay_module
from celeriac.outbox.relay import Relay
from celeriac.outbox.sql_database import SQLDatabase
from celeriac.store.memory.event_log import MemoryEventLog

BUS = EventBus(service="shop", redis_url="redis://127.0.0.1:1/0")


class Died(BaseException):
    """Simulates the death of the relay's process."""


class FlakyLog(MemoryEventLog):
    """Accepts a limited number of events before its server is unreachable; None means all."""

    room: int | None = None

    def append_many(self, items: Sequence[Item]) -> int:
        if self.room is None or self.room >= len(items):
            return super().append_many(items)
        appended, self.room = self.room, None
        super().append_many(items[:appended])
        error = redis.ConnectionError("gone")
        error.appended = appended  # type: ignore[attr-defined]
        raise error


class RelayLife(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.engine = create_engine(
            "sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False}
        )
        create_outbox(self.engine)
        self.event_log = FlakyLog(Settings.load({}))
        self.committed: list[str] = []
        self.rolled_back: set[str] = set()
        self.count = 0
        self.start_relay()

    def start_relay(self) -> None:
        """Start a new process, without the state of the previous one."""
        database = SQLDatabase("sqlite://")
        database._engine = self.engine
        self.relay = Relay(database, BUS.settings, self.event_log)

    def ids(self, number: int) -> list[str]:
        self.count += number
        return [f"{n}" for n in range(self.count - number, self.count)]

    @rule(number=st.integers(1, 5), commits=st.booleans())
    def transaction(self, number: int, commits: bool) -> None:
        ids = self.ids(number)
        with Session(self.engine) as session:
            for id in ids:
                BUS.emit("order.placed", id=id, session=session)
            if commits:
                session.commit()
                self.committed += ids
            else:
                session.rollback()
                self.rolled_back.update(ids)

    @rule()
    def run_pass(self) -> None:
        self.relay.run_pass()

    @rule(room=st.integers(0, 6))
    def turn_while_the_server_goes(self, room: int) -> None:
        self.event_log.room = room
        self.relay.run_pass()
        self.event_log.room = None

    @rule()
    def turn_that_ends_before_the_commit(self) -> None:
        def die(*_: Any) -> None:
            raise Died

        with pytest.MonkeyPatch.context() as patch, suppress(Died):
            patch.setattr(relay_module, "_complete_rows", die)
            self.relay.run_pass()
        self.start_relay()

    def published(self) -> list[str]:
        entries = self.event_log.read("order", count=100_000)
        ids = [decode(entry.body).id for entry in entries if entry.body is not None]
        return list(dict.fromkeys(ids))

    @invariant()
    def what_is_published_is_a_beginning_of_what_is_committed(self) -> None:
        published = self.published()
        assert published == self.committed[: len(published)]
        assert not self.rolled_back & set(published)

    def teardown(self) -> None:
        self.relay.drain()
        assert self.published() == self.committed
        self.engine.dispose()


TestRelayLife = RelayLife.TestCase
TestRelayLife.settings = hypothesis_settings(max_examples=60, stateful_step_count=25, deadline=None)
