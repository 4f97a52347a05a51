"""Two versions of a handler's code over one backend: the older must complete nothing that only the
newer wants."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from celeriac.cli.doctor.versions import check_versions
from celeriac.dispatcher.group_table import wake
from celeriac.registry import WorkerRecord
from celeriac.security import EventSecurity
from celeriac.settings import Settings
from celeriac.store.factory import redis_backend
from celeriac.tracking import Matrix
from tests.unit.cli.test_doctor import snapshot
from tests.unit.tracking.shop import Shop, memory_backend

OLD, NEW = ("order.#",), ("order.#", "payment.#")
SAME_DOMAIN = ("order.placed",), ("order.placed", "order.amended")


@pytest.fixture(params=["memory", "redis"])
def shops(request: pytest.FixtureRequest) -> Iterator[list[Shop]]:
    """Two workers of one service; a version of billing.take is added to each."""
    given = {}
    if request.param == "redis":
        names = {"redis_url": "redis_url", "namespace": "namespace"}
        given = {key: request.getfixturevalue(name) for key, name in names.items()}
    settings = Settings.load({}, **given)
    backend = redis_backend(settings) if given else memory_backend(settings)
    yield [Shop(backend, settings), Shop(backend, settings)]


def start(shop: Shop, name: str, patterns: tuple[str, ...], **options: Any) -> None:
    shop.on("billing.take", *patterns, **options)
    shop.services["billing"].worker = name
    shop.start()


def state(shop: Shop, event: str) -> str | None:
    cells = Matrix(shop.backend).status(event).cells
    return {one.handler: one.state.value for one in cells}.get("billing.take")


def beat(shop: Shop) -> None:
    shop.dispatchers["billing"]._maintenance._last.pop("heartbeat", None)
    shop.dispatch()


@pytest.mark.parametrize(("older", "newer"), [(OLD, NEW), SAME_DOMAIN])
def test_a_worker_with_older_code_that_joins_later_leaves_events_to_the_newer(
    shops: list[Shop], older: tuple[str, ...], newer: tuple[str, ...]
) -> None:
    old, new = shops
    start(new, "new", newer)
    start(old, "old", older)
    event = old.emit("payment.made" if newer is NEW else "order.amended")
    for _ in range(3):
        old.run_until_idle()
    assert state(old, event) in {"waiting", "scheduled"}, "and the status lists the handler"
    make_requeued_due(new)
    wake(new.dispatchers["billing"]._groups)
    new.run_until_idle()
    assert state(new, event) == "processed"


@pytest.mark.parametrize("newer", [["acme", "globex"], ["globex"], None])
@pytest.mark.parametrize("is_first", [True, False])
def test_a_worker_with_older_code_leaves_the_events_of_new_tenants_to_the_newer(
    shops: list[Shop], newer: list[str] | None, is_first: bool
) -> None:
    """The older worker restarts, or still runs, when the newer one has joined."""
    old, new = shops
    workers = {"new": (new, newer), "old": (old, ["acme"])}
    for name in ("new", "old") if is_first else ("old", "new"):
        shop, tenants = workers[name]
        start(shop, name, OLD, tenants=tenants)
    events = {tenant: old.emit("order.placed", tenant=tenant) for tenant in ("acme", "globex")}
    unwanted = old.emit("order.placed", tenant="initech")
    for _ in range(3):
        old.run_until_idle()
    assert state(old, events["acme"]) == "processed"
    assert state(old, events["globex"]) in {"waiting", "scheduled"}
    make_requeued_due(new)
    wake(new.dispatchers["billing"]._groups)
    new.run_until_idle()
    assert state(new, events["globex"]) == "processed"
    assert state(new, unwanted) == ("processed" if newer is None else "skipped")


@pytest.mark.parametrize("options", [{}, {"signed": True}])
def test_older_code_that_gets_a_task_of_a_newer_dispatcher_gives_its_events_back(
    shops: list[Shop], options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EventSecurity, "verify", lambda *_: None)
    old, new = shops
    start(old, "old", OLD, tenants=["acme"], **options)
    start(new, "new", OLD, tenants=["acme", "globex"], **options)
    events = {tenant: new.emit("order.placed", tenant=tenant) for tenant in ("acme", "globex")}
    new.dispatch()
    tasks, new.chunks = new.chunks, []
    assert tasks
    service = old.services["billing"]
    [handler] = service.handlers.values()
    old.chunks += [(service, replace(chunk, handler=handler)) for _, chunk in tasks]
    old.run()
    assert state(new, events["acme"]) == "processed"
    assert state(new, events["globex"]) in {"waiting", "scheduled"}
    make_requeued_due(new)
    wake(new.dispatchers["billing"]._groups)
    new.run_until_idle()
    assert state(new, events["globex"]) == "processed"


def test_after_a_roll_back_events_of_the_removed_tenant_wait_and_are_then_skipped(
    shops: list[Shop],
) -> None:
    old, new = shops
    start(new, "new", OLD, tenants=["acme", "globex"])
    new.dispatchers["billing"].requeue()  # it departs
    start(old, "old", OLD, tenants=["acme"])
    event = old.emit("order.placed", tenant="globex")
    beat(old)
    old.run_until_idle()
    assert state(old, event) in {"waiting", "scheduled"}
    record = old.backend.registry.handlers()["billing.take"]
    assert set(record.leaving) == {"@globex"}
    leaving = {mark: at - 600_000 for mark, at in record.leaving.items()}
    old.backend.registry.register(msgspec.structs.replace(record, leaving=leaving))
    beat(old)
    assert ("@acme",) == old.backend.registry.handlers()["billing.take"].tenants
    make_requeued_due(old)
    for _ in range(2):
        wake(old.dispatchers["billing"]._groups)
        old.run_until_idle()
    assert state(old, event) == "skipped"


def make_requeued_due(shop: Shop) -> None:
    deliveries = shop.backend.deliveries
    keys = getattr(deliveries, "keys", None)
    if keys is None:
        shop.backend.event_log.clock.advance(2000)  # type: ignore[attr-defined]
        return
    for entry in deliveries.client.zrange(keys.scheduled("order", "billing.take"), 0, -1):  # type: ignore[attr-defined]
        deliveries.client.zadd(keys.scheduled("order", "billing.take"), {entry: 1})  # type: ignore[attr-defined]


def test_after_a_roll_back_events_of_the_removed_pattern_wait_and_are_then_skipped(
    shops: list[Shop],
) -> None:
    old, new = shops
    start(new, "new", NEW)
    new.dispatchers["billing"].requeue()  # it departs
    start(old, "old", OLD)
    event = old.emit("payment.made")
    beat(old)
    old.run_until_idle()
    assert state(old, event) == "waiting"
    record = old.backend.registry.handlers()["billing.take"]
    leaving = {p: at - 600_000 for p, at in record.leaving.items()}
    assert set(leaving) == {"payment.#"}
    old.backend.registry.register(msgspec.structs.replace(record, leaving=leaving))
    beat(old)
    dispatcher = old.dispatchers["billing"]
    wake(dispatcher._groups)
    old.run_until_idle()
    wake(dispatcher._groups)
    old.run_until_idle()
    assert state(old, event) == "skipped"
    if not hasattr(old.backend.deliveries, "keys"):
        old.backend.event_log.clock.advance(1)  # type: ignore[attr-defined]
    later = old.emit("payment.made")
    old.run_until_idle()
    assert state(old, later) is None, "nobody subscribes to it any more"


def worker(name: str, *patterns: str) -> WorkerRecord:
    return WorkerRecord(
        name=name, service="billing", hostname="h", pid=1, pool="solo", processes=1,
        queues=("billing",), handlers=("billing.take",), patterns={"billing.take": patterns},
        version="0",
    )  # fmt: skip


def test_doctor_names_the_workers_that_disagree_and_the_patterns_without_a_worker(
    shops: list[Shop],
) -> None:
    shop = shops[0]
    start(shop, "new", NEW)
    record = shop.backend.registry.handlers()["billing.take"]
    agreed = snapshot({}, handlers={record.id: record}, workers=[worker("a", *NEW)])
    assert ["ok"] == [one.level for one in check_versions(agreed)]
    leaving = msgspec.structs.replace(record, leaving={"payment.#": 0})
    some = [worker("a", *OLD), worker("b", "order.placed")]
    two = list(check_versions(snapshot({}, handlers={record.id: leaving}, workers=some)))
    assert ["warn", "warn"] == [one.level for one in two]
    assert "a: order.#; b: order.placed" in two[0].text
    assert "no worker has the pattern payment.# of billing.take" in two[1].text
