"""Workflows of DBOS that events start and feed, in the transaction of the inbox."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import NullPool

from celeriac import Event, EventBus, SubscriptionError
from celeriac.contrib.dbos import send_to_workflow, start_workflow
from celeriac.inbox import DjangoInbox, create_inbox
from celeriac.testing import MemoryBus, in_memory

dbos = pytest.importorskip("dbos")
pytestmark = pytest.mark.timeout(120)
_names = (f"shop{number}" for number in itertools.count())


@dataclass
class Site:
    """A service with DBOS in its own database."""

    url: str
    engine: Engine
    client: Any

    def started(self) -> list[str]:
        """Return the ids of the workflows."""
        return sorted(each.workflow_id for each in self.client.list_workflows())

    def messages(self) -> int:
        """Return how many messages were ever sent."""
        with self.engine.connect() as connection:
            schema = "dbos." if self.engine.dialect.name == "postgresql" else ""
            return int(
                connection.execute(text(f"SELECT count(*) FROM {schema}notifications")).scalar_one()
            )


@pytest.fixture(params=["sqlite", "postgresql"])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    if request.param == "sqlite":
        url = f"sqlite:///{request.getfixturevalue('tmp_path') / 'dbos.sqlite'}"
    else:
        url = str(request.getfixturevalue("postgres_url"))
        url = url.replace("postgresql://", "postgresql+psycopg://")
    dbos.DBOS.destroy(destroy_registry=True)
    dbos.DBOS(config={"name": next(_names), "system_database_url": url, "run_admin_server": False})

    def fulfil(order: dict[str, Any]) -> dict[str, Any]:
        payment = dbos.DBOS.recv("payment", timeout_seconds=60)
        return {"order": order, "payment": payment}

    dbos.DBOS.workflow(name="fulfil")(fulfil)
    dbos.DBOS.launch()
    dbos.DBOS.register_queue("orders")
    client = dbos.DBOSClient(system_database_url=url)
    engine = create_engine(url, poolclass=NullPool)
    if request.param == "sqlite":
        # Off by default; DBOS detects a missing workflow by it.
        sqlalchemy_event.listen(
            engine, "connect", lambda connection, _: connection.execute("PRAGMA foreign_keys=ON")
        )
    create_inbox(engine)
    yield Site(url, engine, client)
    client.destroy()
    dbos.DBOS.destroy(destroy_registry=True)
    engine.dispose()


def subscribe(bus: EventBus, site: Site, inbox: Any = None) -> None:
    inbox = inbox or site.engine
    start_workflow(
        bus, "order.placed", client=site.client, workflow="fulfil", queue="orders", inbox=inbox
    )
    send_to_workflow(
        bus, "payment.*", client=site.client, workflow="fulfil", topic="payment", inbox=inbox
    )


def emit(bus: EventBus, memory: MemoryBus, type: str, **attributes: Any) -> None:
    bus.emit(type, {"n": 1}, **{"subject": "order-1", **attributes})
    memory.run_until_idle(jump=False)


def test_an_event_starts_the_workflow_and_another_one_feeds_it(bus: EventBus, site: Site) -> None:
    subscribe(bus, site)
    with in_memory(bus) as memory:
        emit(bus, memory, "order.placed", id="first")
        emit(bus, memory, "payment.captured")
        memory.assert_no_dead()
    result = site.client.retrieve_workflow("fulfil/order-1").get_result()
    order, payment = result["order"], result["payment"]
    assert (order["id"], order["type"], order["subject"], order["data"]) == (
        "first", "order.placed", "order-1", {"n": 1},
    )  # fmt: skip
    assert (payment["type"], payment["source"]) == ("payment.captured", bus.settings.source)
    assert payment["time"].endswith("+00:00")


def test_a_crash_after_the_commit_starts_and_sends_nothing_again(bus: EventBus, site: Site) -> None:
    subscribe(bus, site)
    with in_memory(bus) as memory:
        for type in ("order.placed", "payment.captured"):
            memory.crash_before_ack()
            emit(bus, memory, type)
        memory.advance(3600)
        memory.run_until_idle()
        memory.assert_no_dead()
    assert (site.started(), site.messages()) == (["fulfil/order-1"], 1)


def test_what_is_rolled_back_has_not_started(bus: EventBus, site: Site) -> None:
    """The handler fails after it has enqueued the workflow, and succeeds in its next run."""
    client, failures = site.client, 1

    class Failing:
        def enqueue_in_transaction(self, session: Any, *arguments: Any) -> None:
            nonlocal failures
            client.enqueue_in_transaction(session, *arguments)
            if failures:
                failures -= 1
                raise ConnectionError("lost")

    start_workflow(
        bus, "order.placed", client=Failing(), workflow="fulfil", queue="orders",
        inbox=sessionmaker(site.engine), backoff=60.0,
    )  # fmt: skip
    with in_memory(bus) as memory:
        emit(bus, memory, "order.placed")
        assert site.started() == []
        memory.run_until_idle()
        memory.assert_no_dead()
    assert site.started() == ["fulfil/order-1"]


def test_a_second_event_of_the_subject_starts_nothing(bus: EventBus, site: Site) -> None:
    subscribe(bus, site)
    with in_memory(bus) as memory:
        emit(bus, memory, "order.placed")
        emit(bus, memory, "order.placed")
        emit(bus, memory, "order.placed", subject="order-2")
        memory.assert_no_dead()
    assert site.started() == ["fulfil/order-1", "fulfil/order-2"]


def test_an_event_that_comes_before_the_start_waits(bus: EventBus, site: Site) -> None:
    subscribe(bus, site)
    with in_memory(bus) as memory:
        emit(bus, memory, "payment.captured")
        assert (site.started(), site.messages()) == ([], 0)
        emit(bus, memory, "order.placed")
        memory.run_until_idle()
        memory.assert_no_dead()
    result = site.client.retrieve_workflow("fulfil/order-1").get_result()
    assert result["payment"]["type"] == "payment.captured"


def test_an_event_whose_workflow_never_starts_is_dead_with_the_reason(
    bus: EventBus, site: Site
) -> None:
    send_to_workflow(
        bus, "payment.*", client=site.client, workflow="fulfil", topic="payment",
        inbox=site.engine, wait=5,
    )  # fmt: skip
    with in_memory(bus) as memory:
        emit(bus, memory, "payment.captured")
        memory.run_until_idle()
        [dead] = memory.dead
    assert "workflow fulfil/order-1 has not started. Emit the event that starts it" in dead.error


def test_without_a_subject_the_id_is_named_or_the_event_is_dead(bus: EventBus, site: Site) -> None:
    subscribe(bus, site)

    def by_number(event: Event[Any]) -> str:
        return f"number-{event.data['n']}"

    start_workflow(
        bus, "order.imported", client=site.client, workflow="fulfil", queue="orders",
        inbox=site.engine, workflow_id=by_number, name="imported",
    )  # fmt: skip
    with in_memory(bus) as memory:
        emit(bus, memory, "order.placed", subject=None)
        emit(bus, memory, "order.imported", subject=None)
        [dead] = memory.dead
    assert "has no subject, which names the workflow. Emit it with one, or give" in dead.error
    assert site.started() == ["number-1"]


def test_an_inbox_for_coroutines(bus: EventBus, site: Site) -> None:
    url = site.url.replace("sqlite:", "sqlite+aiosqlite:")
    subscribe(bus, site, create_async_engine(url, poolclass=NullPool))
    with in_memory(bus) as memory:
        emit(bus, memory, "order.placed")
        emit(bus, memory, "payment.captured")
        memory.assert_no_dead()
    assert site.client.retrieve_workflow("fulfil/order-1").get_result()["payment"]["data"]


def test_other_writes_of_the_transaction_keep_their_schema(bus: EventBus, site: Site) -> None:
    """DBOS sets a translation of schemas on the connection."""
    with Session(site.engine) as session, session.begin():
        options = {"workflow_name": "fulfil", "queue_name": "orders", "workflow_id": "a"}
        site.client.enqueue_in_transaction(session, options, {})
        assert session.execute(text("SELECT count(*) FROM celeriac_inbox")).scalar() == 0


def test_an_inbox_of_django_is_refused(bus: EventBus) -> None:
    with pytest.raises(SubscriptionError, match="DBOS writes through SQLAlchemy"):
        start_workflow(
            bus, "order.placed", client=None, workflow="fulfil", queue="orders", inbox=DjangoInbox()
        )
