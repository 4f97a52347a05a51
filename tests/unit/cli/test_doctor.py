"""The doctor's findings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from celeriac.cli.doctor.backlog import check_backlog
from celeriac.cli.doctor.finding import BusSnapshot
from celeriac.cli.doctor.outbox import check_outbox, read_outbox
from celeriac.cli.doctor.server import check_server
from celeriac.cli.doctor.services import check_clocks
from celeriac.cli.doctor.spool import check_spool
from celeriac.cli.doctor.streams import check_streams
from celeriac.event_log import ClockStep, EntryKind, GroupInfo, StreamStats
from celeriac.outbox import create_outbox
from celeriac.outbox.status import OutboxStatus
from celeriac.registry import ScaleTargetRecord, WorkerRecord
from celeriac.settings import Settings
from celeriac.spool import SpoolFile
from celeriac.store.memory.clock import MemoryClock
from celeriac.tracking import HandlerLag
from tests.unit.cli.conftest import Run, refuse
from tests.unit.tracking.shop import Shop

HEALTHY = {
    "redis_version": "7.4.0",
    "maxmemory_policy": "noeviction",
    "maxmemory": 1000,
    "used_memory": 100,
    "aof_enabled": 1,
}


def snapshot(info: dict[str, Any], **given: Any) -> BusSnapshot:
    parts: dict[str, Any] = {
        "settings": Settings.load({}), "servers": {"h:1": info} if info else {}, "now_ms": 0,
        "clock_off_ms": 0, "handlers": {}, "workers": [], "lags": [], "dead": {},
    }  # fmt: skip
    return BusSnapshot(**{**parts, **given})


def levels(run: Run) -> dict[str, str]:
    """The worst level of each check."""
    rank = ("ok", "warn", "fail")
    worst: dict[str, str] = {}
    for one in run("doctor", "--json").json["findings"]:
        worst[one["check"]] = max(worst.get(one["check"], "ok"), one["level"], key=rank.index)
    return worst


@pytest.mark.parametrize(("ago_ms", "named"), [(60_000, True), (90_000_000, False)])
def test_a_clock_of_the_server_that_was_set_back_is_named(ago_ms: int, named: bool) -> None:
    now = 1_700_000_000_000
    steps = {"order": ClockStep(3_600_000, now - ago_ms), "user": ClockStep(5000, 0)}
    [finding] = check_clocks(snapshot({}, now_ms=now, clock_steps=steps))
    assert ("warn" if named else "ok") == finding.level
    assert named == ("set back by 60 min, 60 s ago" in finding.text)


def test_a_bus_in_order_is_healthy(shop: Shop, run: Run) -> None:
    shop.on("billing.charge", "order.placed")
    shop.start()
    answer = run("doctor")
    assert 0 == answer.exit_code
    assert all(line.startswith("ok") for line in answer.out.splitlines())
    assert run("doctor", "--json").json["healthy"]


def test_a_service_without_a_living_worker_fails(shop: Shop, run: Run, clock: MemoryClock) -> None:
    shop.on("billing.charge", "order.placed")
    shop.start()
    clock.advance(16_000)
    assert "fail" == levels(run)["worker"]
    assert 1 == run("doctor").exit_code


def test_an_archive_may_run_once_an_hour(shop: Shop, run: Run, clock: MemoryClock) -> None:
    shop.on("archive.events", "#")
    shop.start()
    shop.emit("order.placed")
    clock.advance(3_600_000)
    answer = run("doctor")
    assert "no celeriac archive runs now, and 1 unfinished delivery" in answer.out
    assert "fail" != levels(run)["worker"]
    clock.advance(3_600_000)
    assert "1 unfinished delivery, the oldest for 2 h" in run("doctor").out
    assert "celeriac archive --to URL" in run("doctor").out
    assert "fail" == levels(run)["worker"]


def beat(shop: Shop, service: str, **changed: Any) -> None:
    """Write the heartbeat of the service's worker again, with these changes."""
    record = shop.record(shop.services[service])
    shop.backend.registry.heartbeat(msgspec.structs.replace(record, **changed))


def test_a_queue_without_a_consumer_fails(shop: Shop, run: Run) -> None:
    """The finding names the handler, its queue and what to do."""
    shop.on("billing.charge", "order.placed")
    shop.on("billing.slow", "order.placed", queue="slow")
    shop.start()
    beat(shop, "billing", queues=("billing",), handlers=("billing.charge",))
    out = run("doctor").out
    assert "billing.slow does not run: no running worker of billing consumes its queue slow" in out
    assert "-Q slow" in out and "add_consumer slow" in out


def test_a_handler_that_no_worker_ever_served_fails(shop: Shop, run: Run) -> None:
    """It is not registered: only the workers that leave it out know of it."""
    shop.on("billing.charge", "order.placed")
    shop.start()
    beat(shop, "billing", unserved={"billing.slow": "slow"})
    assert "billing.slow does not run" in run("doctor").out
    beat(shop, "billing", unserved={"billing.lost": "billing"})
    assert (
        "billing.lost does not run: it is on a bus of a different Celery app" in run("doctor").out
    )


def test_a_worker_that_consumes_nothing_any_more_is_a_running_one(shop: Shop, run: Run) -> None:
    """As after `celery control cancel_consumer`: the finding names the queue, not a dead worker."""
    shop.on("billing.charge", "order.placed")
    shop.start()
    beat(shop, "billing", queues=(), handlers=(), unserved={"billing.charge": "billing"})
    out = run("doctor").out
    assert "billing.charge does not run: no running worker of billing consumes its queue" in out
    assert "has no running worker" not in out


def test_a_handler_that_another_worker_serves_is_no_fault(shop: Shop, run: Run) -> None:
    shop.on("billing.charge", "order.placed")
    shop.start()
    beat(shop, "billing", name="other", queues=("x",), handlers=(),
         unserved={"billing.charge": "billing"})  # fmt: skip
    assert 0 == run("doctor").exit_code


def test_groups_and_handlers_that_do_not_belong_together_fail(shop: Shop, run: Run) -> None:
    shop.on("billing.charge", "order.placed")
    shop.start()
    shop.backend.event_log.leave("order", "billing.charge")
    shop.backend.event_log.join("order", "old.handler", "0")
    out = run("doctor").out
    assert "billing.charge in order has lost its group" in out
    assert "celeriac handlers remove old.handler" in out


def test_a_group_that_a_running_worker_serves_is_not_orphaned(shop: Shop, run: Run) -> None:
    shop.on("billing.charge", "order.placed")
    shop.start()
    record = shop.backend.registry.handlers()["billing.charge"]
    memory: Any = shop.backend.registry
    memory._handlers.clear()
    out = run("doctor").out
    assert "handlers remove billing.charge" not in out
    assert "billing.charge in order has no readable record" in out
    refused = run("handlers", "remove", "billing.charge", "--yes")
    assert refused.exit_code == 1
    assert "has no record, but" in refused.err
    assert "billing.charge" in {g.handler for g in shop.backend.event_log.groups("order")}
    shop.backend.registry.register(record)
    removed = run("handlers", "remove", "billing.charge", "--yes")
    assert removed.exit_code == 0
    assert "has billing.charge in its code" in removed.err


NOW = 1_800_000_000_000


@pytest.mark.parametrize(
    ("newest", "text"),
    [
        ("0-0", None), (f"{NOW}-5", None), (f"{NOW + 30_000}-0", None),
        (f"{NOW + 3_600_000}-0", "ahead of the server's clock"),
        (f"{2**64 - 1}-{2**64 - 1}", "has exhausted its ids"),
    ],
)  # fmt: skip
def test_ids_of_the_future_are_named(newest: str, text: str | None) -> None:
    stream_stats = [StreamStats("order", newest=newest)]
    found = list(check_streams(snapshot(HEALTHY, now_ms=NOW, stream_stats=stream_stats)))
    assert [one.level for one in found] == ["fail" if text else "ok"]
    assert text is None or text in found[0].text


@pytest.mark.parametrize(("read", "lost"), [(None, 0), (4, 0), (5, 0), (1, 3), (0, 4)])
def test_entries_that_were_deleted_before_a_group_read_them_are_counted(
    read: int | None, lost: int
) -> None:
    group = GroupInfo("billing.charge", "1-0", 0, None, read, {}, None)
    volume = StreamStats("order", length=6, appended=10, newest="10-0")
    sick = snapshot(HEALTHY, now_ms=NOW, stream_stats=[volume], groups={"order": [group]})
    found = list(check_streams(sick))
    assert [one.level for one in found] == ["fail" if lost else "ok"]
    assert not lost or found[0].text.startswith(f"{lost} entries of order were deleted before")


def test_dead_letters_and_old_events_are_worth_a_look(
    shop: Shop, run: Run, clock: MemoryClock
) -> None:
    shop.on("billing.charge", "order.placed", retries=0, function=refuse)
    shop.on("mail.send", "order.placed")
    shop.start()
    shop.emit("order.placed")
    shop.run_until_idle("billing")
    clock.advance(7_200_000)
    found = levels(run)
    assert ("warn", "warn") == (found["dead"], found["backlog"])


@pytest.mark.parametrize(
    ("change", "level"),
    [
        ({}, "ok"),
        ({"redis_version": "6.2.14"}, "fail"),
        ({"valkey_version": "8.0.1", "redis_version": "7.2.4"}, "ok"),
        ({"maxmemory_policy": "allkeys-lru"}, "fail"),
        ({"maxmemory_policy": "allkeys-lru", "maxmemory": 0}, "warn"),
        ({"aof_enabled": 0}, "warn"),
        ({"aof_last_write_status": "err"}, "fail"),
        ({"used_memory": 800}, "warn"),
        ({"used_memory": 950}, "fail"),
        ({"maxmemory": 0}, "ok"),
    ],
)
def test_the_server_is_checked(change: dict[str, Any], level: str) -> None:
    found = {finding.level for finding in check_server(snapshot({**HEALTHY, **change}))}
    assert {"ok", level} == found
    assert all(f.remedy for f in check_server(snapshot({**HEALTHY, **change})) if f.level != "ok")


def test_a_clock_that_is_off_is_named() -> None:
    worker = WorkerRecord(
        name="w", service="s", hostname="h", pid=1, pool="solo", processes=1, queues=("s",),
        version="0", beat_ms=100_000, clock_ms=80_000,
    )  # fmt: skip
    found = list(check_clocks(snapshot(HEALTHY, now_ms=100_000, workers=[worker])))
    assert ["w is 20 s behind the server"] == [finding.text for finding in found]


@pytest.mark.parametrize(("waiting", "level"), [(10, None), (80, "warn"), (100, "fail")])
def test_a_log_near_max_backlog_is_reported_with_its_slowest_handler(
    waiting: int, level: str | None
) -> None:
    lags = [
        HandlerLag(handler="billing.charge", service="billing", domain="order", waiting=waiting),
        HandlerLag(handler="mail.send", service="mail", domain="order", waiting=1),
    ]
    settings = Settings.load({}, max_backlog=100)
    found = [
        one
        for one in check_backlog(snapshot(HEALTHY, lags=lags, settings=settings))
        if one.check == "log"
    ]
    assert [one.level for one in found] == ([level] if level else [])
    assert all("billing.charge" in one.text for one in found)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (None, []),
        (OutboxStatus("sqlite://", 0, None, 0), ["ok"]),
        (OutboxStatus("sqlite://", 3, 2.0, 0), ["ok"]),
        (OutboxStatus("sqlite://", 3, 90.0, 2), ["fail", "warn"]),
        (OutboxStatus("sqlite://", 0, None, 0, 90.0), ["ok", "fail"]),
        (OutboxStatus("sqlite://", 0, None, 0, 1.0), ["ok"]),
        ("OperationalError: refused", ["fail"]),
    ],
)
def test_an_outbox_without_a_relay_fails(
    found: OutboxStatus | str | None, expected: list[str]
) -> None:
    findings = list(check_outbox(snapshot({}, outbox=found)))
    assert expected == [finding.level for finding in findings]


def test_the_outbox_of_the_settings_is_looked_at(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'shop.sqlite'}"
    assert read_outbox(Settings.load({})) is None
    missing = read_outbox(Settings.load({}, outbox_url=url))
    assert isinstance(missing, str)
    assert "create_outbox" in missing
    create_outbox(create_engine(url, poolclass=NullPool))
    assert read_outbox(Settings.load({}, outbox_url=url)) == OutboxStatus(url, 0, None, 0)


def test_each_node_of_a_cluster_is_looked_at() -> None:
    nodes = {
        "10.0.0.1:6379": {**HEALTHY, "cluster_enabled": 1, "connected_slaves": 1},
        "10.0.0.2:6379": {**HEALTHY, "cluster_enabled": 1, "aof_enabled": 0},
    }
    found = list(check_server(replace(snapshot({}), servers=nodes)))
    assert [f.check for f in found if f.level == "warn"] == ["persistence", "replicas"]
    assert any("10.0.0.2:6379" in f.text for f in found)


def test_events_in_the_spool_are_reported(tmp_path: Path) -> None:
    path = str(tmp_path / "spool.db")
    settings = Settings.load({}, spool=path)
    sick = snapshot(HEALTHY, settings=settings)
    assert list(check_spool(sick)) == []
    assert not (tmp_path / "spool.db").exists()
    file = SpoolFile(path, settings.spool_max_bytes)
    file.put([("order", b"{}", EntryKind.GIVEN, 0)] * 3)
    [found] = check_spool(sick)
    assert (found.level, "3 events" in found.text) == ("warn", True)
    file.remove(file.oldest(3))
    [found] = check_spool(sick)
    assert found.level == "ok"


def test_of_many_findings_alike_the_first_are_shown_and_all_are_in_the_json(
    shop: Shop, run: Run, clock: MemoryClock
) -> None:
    for n in range(25):
        record = WorkerRecord(
            name=f"w{n}", service="billing", hostname="h", pid=1, pool="solo", processes=1,
            queues=("billing",), version="0",
        )  # fmt: skip
        shop.backend.registry.heartbeat(record)
    clock.advance(60_000)
    lines = run("doctor").out.splitlines()
    assert "no worker with a handler has started yet" in "".join(lines)
    assert "name them in app.conf.imports" in "".join(lines)
    assert 19 == sum("stopped without deregistering" in line for line in lines)
    assert "and 6 more of this check" in "\n".join(lines)
    found = run("doctor", "--json").json["findings"]
    assert 25 == sum("stopped without deregistering" in one["text"] for one in found)


@pytest.mark.parametrize("handlers", [0, 1])
def test_a_worker_without_durable_handlers_is_in_order(
    shop: Shop, run: Run, handlers: int, clock: MemoryClock
) -> None:
    """It has broadcast handlers or schedules only."""
    if handlers:
        shop.on("billing.charge", "order.placed")
        shop.start()
    shop.backend.registry.heartbeat(
        WorkerRecord(
            name="cache@h/1", service="cache", hostname="h", pid=1, pool="prefork", processes=2,
            queues=("cache",), version="1",
        )
    )  # fmt: skip
    lines = [line.split(None, 2) for line in run("doctor").out.splitlines()]
    assert ["ok", "worker", "cache: 1 worker, 2 processes"] in lines
    assert "fail" not in levels(run).values() and levels(run)["worker"] == "ok"
    clock.advance(16_000)
    assert "cache@h/1 stopped without deregistering" in run("doctor").out


def scale_target(shop: Shop, **changed: Any) -> None:
    """What the gateway wrote when an autoscaler asked."""
    parts = {"service": "billing", "cooldown": 300.0, "workers": 0}
    now = shop.backend.registry.now_ms()
    record = ScaleTargetRecord(**{**parts, "requested_ms": now, **changed})
    shop.backend.registry.note_scale_target(record)


def test_a_service_that_is_scaled_to_zero_is_in_order(
    shop: Shop, run: Run, clock: MemoryClock
) -> None:
    shop.on("billing.charge", "order.placed")
    shop.start()
    clock.advance(16_000)
    scale_target(shop)
    out = run("doctor").out
    assert "billing is scaled to zero: nothing is due within its cooldown" in out
    assert "fail" != levels(run)["worker"]
    # No autoscaler asks any more, and it may be gone.
    clock.advance(601_000)
    assert "fail" == levels(run)["worker"]


def test_a_wanted_worker_that_does_not_start_within_the_cooldown_fails(
    shop: Shop, run: Run, clock: MemoryClock
) -> None:
    shop.on("billing.charge", "order.placed")
    shop.start()
    clock.advance(16_000)
    since = shop.backend.registry.now_ms()
    shop.emit("order.placed")
    scale_target(shop, workers=2, unmet_since_ms=since)
    clock.advance(299_000)
    assert "billing starts: 2 workers wanted" in run("doctor").out
    assert "fail" != levels(run)["worker"]
    clock.advance(2_000)
    scale_target(shop, workers=2, unmet_since_ms=since)
    out = run("doctor").out
    assert "billing has no running worker, and 1 unfinished delivery" in out
    assert "should run 2 workers since 5 min" in out
    assert 1 == run("doctor").exit_code


def test_the_target_of_one_service_or_queue_excuses_no_other(
    shop: Shop, run: Run, clock: MemoryClock
) -> None:
    shop.on("billing.charge", "order.placed")
    shop.on("mail.send", "order.placed")
    shop.start()
    clock.advance(16_000)
    scale_target(shop)
    assert "mail has no running worker" in run("doctor").out
    scale_target(shop, service="mail")
    since = shop.backend.registry.now_ms() - 400_000
    scale_target(shop, service="mail", queue="slow", workers=1, unmet_since_ms=since)
    assert "mail:slow has no running worker" in run("doctor").out
