"""Services on a real server with ACLs, each with the user that `celeriac acl` prints for it.

Dispatchers and executors run in this process, on the connections of those users.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import kombu
import msgspec
import pytest
import redis
from click.testing import CliRunner
from redis.backoff import ConstantBackoff
from redis.exceptions import NoPermissionError
from redis.retry import Retry

from celeriac import BusUnavailable, ConfigurationError, Event, EventBus, Reply
from celeriac.cli.acl.rules import ServiceAccess, operator_rules, rules
from celeriac.cli.root import main
from celeriac.cli.session import Session
from celeriac.delivery import Group
from celeriac.delivery.chunk_store import ChunkCompletion, ChunkRequest
from celeriac.dispatcher import Dispatcher
from celeriac.event import encode
from celeriac.event_log import EntryKind, time_ms
from celeriac.event_log.backpressure import Backlog
from celeriac.registry import HandlerRecord, WorkerRecord
from celeriac.registry.scale_target import ScaleTargetRecord
from celeriac.reply import RequestOutcome
from celeriac.security.generate import generate
from celeriac.settings import Settings
from celeriac.store.redis.bounded_event_log import BoundedRedisEventLog
from celeriac.store.redis.emitted import flush_emitted
from celeriac.store.redis.keys import Keys
from celeriac.store.redis.script import Script
from celeriac.testing.ports import free_port
from celeriac.testing.process_guard import guarded_popen
from celeriac.testing.server import EmbeddedServer, start_server
from tests.unit.delivery_task import run_task

KEYS = Keys()
# kombu ships no types
broker: Any = kombu


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    with start_server(tmp_path_factory.mktemp("acl"), appendonly=False) as server:
        client: Any = redis.Redis.from_url(server.url)
        orders = ServiceAccess(service="orders", reads=["payment"], emits=["order"])
        billing = ServiceAccess(service="billing", reads=["order"], emits=["payment"])
        for part in (orders, billing):
            client.execute_command(
                "ACL", "SETUSER", part.service, "reset", "on", ">pw", *rules(part, KEYS)
            )
        client.execute_command(
            "ACL", "SETUSER", "people", "reset", "on", ">pw", *operator_rules(KEYS)
        )
        client.close()
        yield server


def url_of(server: EmbeddedServer, name: str) -> str:
    return server.url.replace("redis://", f"redis://{name}:pw@")


def dispatcher(bus: EventBus) -> Dispatcher:
    """Run the deliveries instead of sending a delivery task."""
    record = WorkerRecord(
        name=bus.service.worker, service=bus.settings.service, hostname="h", pid=1, pool="none",
        processes=1, queues=(), version="1",
    )  # fmt: skip
    return Dispatcher(
        bus.service,
        lambda chunk: void(run_task(bus.service, chunk)),
        processes=1,
        describe=lambda: record,
    )


def void(_: object) -> None: ...


OF_OPERATORS = {
    "begin_archive_replay.lua", "discard.lua", "edit.lua", "redrive.lua", "replay.lua",
    "replay_archived.lua",
}  # fmt: skip
OF_EVENT_LOG = {
    "announce.lua", "append_once.lua", "backlog.lua", "emitted.lua", "forget.lua",
    "note_foreign.lua", "delay_event.lua", "enqueue_due.lua", "remove_consumers.lua", "trim.lua",
    "cancel.lua", "declare_schedule.lua", "tick.lua", "open_replies.lua", "reply.lua",
    "close_replies.lua", "begin_request.lua", "end_request.lua", "late_reply.lua",
    "read_requests.lua",
}  # fmt: skip
OF_CIRCUITS_AND_REGISTRY = {"probe.lua", "switch.lua", "record_calls.lua", "update.lua"}
MOVES = (
    {
        path.name
        for path in (files("celeriac.store.redis") / "lua").iterdir()
        if path.name.endswith(".lua") and not path.name.startswith("_")
    }
    - OF_EVENT_LOG
    - OF_CIRCUITS_AND_REGISTRY
)


@pytest.mark.parametrize(
    ("user", "name", "domain"),
    [
        *(("billing", name, "order") for name in sorted(MOVES - OF_OPERATORS)),
        *(
            ("billing", name, "order")
            for name in ("trim.lua", "remove_consumers.lua", "backlog.lua")
        ),
        *(("billing", name, "order") for name in ("note_foreign.lua",)),
        *(("billing", name, "payment") for name in ("append_once.lua", "emitted.lua")),
        *(("orders", name, "order") for name in ("delay_event.lua", "enqueue_due.lua")),
        *(("orders", name, "order") for name in ("cancel.lua", "declare_schedule.lua", "tick.lua")),
    ],
)
def test_a_service_may_name_the_keys_that_its_scripts_declare(
    server: EmbeddedServer, user: str, name: str, domain: str
) -> None:
    script = Script(name)
    now_ms = 0 if "this_minute" in script.names else None
    given = script.keys(KEYS, domain, f"{user}.charge", now_ms) or ("celeriac:handlers",)
    with redis.Redis.from_url(server.url) as client:
        command: Any = client.execute_command
        assert b"OK" == command("ACL", "DRYRUN", user, *script.of_keys(given))


def test_each_service_does_its_part(server: EmbeddedServer) -> None:
    """Events, delayed ones, failures, order, a rate limit: a whole round with users that may do
    no more. The one thing refused is to move delayed events where a service only reads."""
    private, public = (json.dumps(key) for key in generate("orders-1"))
    orders = EventBus(
        service="orders",
        redis_url=url_of(server, "orders"),
        emitted_domains="order",
        signing_key=private,
    )
    billing = EventBus(
        service="billing",
        redis_url=url_of(server, "billing"),
        emitted_domains="payment",
        trusted_keys=public,
    )
    shipped: set[str] = set()
    audit_log: set[str] = set()

    @billing.on("order.placed", retries=1, backoff=0.05, jitter=0.0, rate_limit="500/s")
    def charge(event: Event[dict[str, int]]) -> None:
        billing.emit("payment.captured", {"n": 1}, id=f"{event.id}.paid", delay=0.05)
        if event.data["n"] == 3:
            raise ValueError("declined")

    @billing.on("order.placed", ordered=True)
    def handlers(event: Event) -> None: ...

    @billing.on("order.placed", signed=True)
    def audit(event: Event) -> None:
        audit_log.add(event.id)

    @orders.on("payment.*")
    def ship(event: Event) -> None:
        shipped.add(event.id)

    orders.schedule("order.counted", every=1)
    turning = [dispatcher(billing), dispatcher(orders)]
    for one in turning:
        one.run_once()
    ids = [orders.emit("order.placed", {"n": n}, subject=f"o/{n}") for n in range(5)]
    ids.append(orders.emit("order.placed", {"n": 9}, delay=0.1))
    orders.emit_many([("order.placed", {"n": 7})])
    client: Any = redis.Redis.from_url(server.url, decode_responses=True)
    # As foreign producers do, and as an event that was tried again.
    foreign = encode(orders.event("order.placed", {"n": 8}, id="foreign"))
    client.xadd(KEYS.events("order"), {"event": foreign})
    event_log: Any = orders.service.backend.event_log
    tried = encode(orders.event("order.placed", {"n": 9}, id="tried"))
    event_log.append("order", tried, EntryKind.MADE, time_ms())
    ids += ["foreign", "tried"]
    deadline = time.monotonic() + 30
    # What failed, and both that are not signed.
    schedules, counted = orders.service.backend.schedules, orders.service.schedules["order.counted"]
    while not ((stored := schedules.read(counted.schedule).stored) and stored.fired):
        assert time.monotonic() < deadline, client.execute_command("ACL", "LOG")
        turning[1].run_once()
    while len(shipped) < 9 or client.xlen(KEYS.dead("order")) < 3 or len(audit_log) < 7:
        assert time.monotonic() < deadline, (shipped, client.execute_command("ACL", "LOG"))
        for one in turning:
            one.run_once()
    for one in turning:
        one.requeue()
    assert {f"{id}.paid" for id in ids} <= shipped
    assert {*ids} - {"foreign", "tried"} <= audit_log
    refused = {(e["username"], e["object"]) for e in client.acl_log()}
    assert refused <= {("billing", KEYS.events("order")), ("orders", KEYS.events("payment"))}
    client.close()


def test_services_request_from_each_other(server: EmbeddedServer) -> None:
    orders = EventBus(service="orders", redis_url=url_of(server, "orders"))
    billing = EventBus(
        service="billing", redis_url=url_of(server, "billing"), emitted_domains="payment"
    )

    @billing.on("order.checked")
    def check(event: Event) -> Reply:
        return Reply("paid", type="payment.checked")

    turning = dispatcher(billing)
    turning.run_once()

    def ask() -> None:
        answers.append(orders.request("order.checked", timeout=20).data)

    async def aask() -> None:
        answers.append((await orders.arequest("order.checked", timeout=20)).data)
        await orders.aclose()

    answers: list[Any] = []
    for asking in (ask, lambda: asyncio.run(aask())):
        thread, there = threading.Thread(target=asking), len(answers)
        thread.start()
        while thread.is_alive():
            turning.run_once()
            thread.join(0.01)
        assert answers[there:] == ["paid"]
    turning.requeue()
    for bus in (orders, billing):  # each may count, and serves metrics
        stats = bus.service.backend.replies.stats()["order.checked"]
        assert (stats.pending, stats.outcomes) == (0, {RequestOutcome.REPLIED: 2})


def test_a_worker_reads_what_autoscalers_asked_for_its_metrics(server: EmbeddedServer) -> None:
    registry = EventBus(
        service="billing", redis_url=url_of(server, "billing")
    ).service.backend.registry
    record = ScaleTargetRecord(
        service="billing", cooldown=60, workers=0, requested_ms=registry.now_ms()
    )
    registry.note_scale_target(record)
    assert {"billing": record} == registry.scale_targets()


def test_celery_has_its_queue_and_its_remote_control(server: EmbeddedServer) -> None:
    bus = EventBus(service="billing", redis_url=url_of(server, "billing"))
    queue = broker.Queue("billing", broker.Exchange("billing"), routing_key="billing")
    options = bus.app.conf.broker_transport_options
    with broker.Connection(bus.settings.broker_url, transport_options=options) as connection:
        producer = broker.Producer(connection)
        for priority in (None, 9):
            producer.publish(
                {"n": 1}, exchange="billing", routing_key="billing", declare=[queue],
                priority=priority,
            )  # fmt: skip
        with connection.SimpleQueue("billing") as taken:
            for _ in range(2):
                taken.get(timeout=5).ack()
    assert bus.app.control.inspect(timeout=0.2).ping() is None


def test_what_each_may_not_do_is_refused(server: EmbeddedServer) -> None:
    def may(name: Any, *command: Any) -> bool:
        client: Any = redis.Redis.from_url(url_of(server, name))
        try:
            client.execute_command(*command)
        except NoPermissionError:
            return False
        except redis.ResponseError as error:
            assert not any(s in str(error) for s in ("ACL", "can't run")), error
            return True
        finally:
            client.close()
        return True

    events = "celeriac:{order}:events"
    assert may("orders", "XADD", events, "*", "event", "no event")
    assert may("billing", "XRANGE", events, "-", "+")
    for name, *command in [
        # another's types
        ("billing", "XADD", events, "*", "event", "x"),
        ("billing", "ZADD", "celeriac:{order}:delayed", 1, "x"),
        ("orders", "XADD", "celeriac:{payment}:events", "*", "event", "x"),
        # logs and dead letters of domains that it does not read
        ("orders", "XREADGROUP", "GROUP", "billing.charge", "x", "STREAMS", events, ">"),
        ("orders", "XACK", events, "billing.charge", "1-0"),
        ("orders", "XRANGE", "celeriac:{order}:dead", "-", "+"),
        ("billing", "XREADGROUP", "GROUP", "orders.ship", "x", "STREAMS",
         "celeriac:{payment}:events", ">"),
        ("billing", "XRANGE", "celeriac:{payment}:dead", "-", "+"),
        # what another's handlers did
        ("orders", "HGETALL", "celeriac:{order}:stats:billing.charge"),
        ("billing", "HSET", "celeriac:{payment}:matrix:orders.ship:1", "a", "b"),
        # which would keep a signed event from them
        ("orders", "HSET", "celeriac:{order}:verified:billing.audit", "a", "1-0"),
        ("billing", "ZADD", "celeriac:{payment}:due:orders.ship", 1, "1-0"),
        # delivery tasks in another service's queue
        ("orders", "LPUSH", "billing", "{}"),
        ("billing", "RPOP", "orders"),
        # groups and logs as a whole
        ("billing", "XGROUP", "DESTROY", events, "billing.charge"),
        ("billing", "DEL", events), ("billing", "DEL", "celeriac:handlers"),
        ("billing", "HDEL", "celeriac:handlers", "orders.ship"), 
        ("billing", "LRANGE", "unacked", 0, 1),
        ("billing", "HGETALL", "unacked"), ("billing", "DEL", "celeriac:domains"),
        ("billing", "XDEL", events, "1-0"),
        # the server
        ("billing", "FLUSHALL"), ("billing", "FLUSHDB"), ("billing", "KEYS", "*"),
        ("billing", "SCAN", 0), ("billing", "CONFIG", "GET", "*"), ("billing", "ACL", "LIST"),
        ("billing", "SHUTDOWN"), ("billing", "MONITOR"),
        ("billing", "REPLICAOF", "NO", "ONE"), ("billing", "SCRIPT", "FLUSH"),
        ("billing", "FUNCTION", "LIST"), ("billing", "CLIENT", "LIST"),
        ("billing", "CLIENT", "KILL", "TYPE", "normal"), ("billing", "RANDOMKEY"),
        # people neither
        ("people", "FLUSHALL"), ("people", "CONFIG", "SET", "maxmemory", "1"),
        ("people", "SET", "elsewhere", "1"),
    ]:  # fmt: skip
        assert not may(name, *command), (name, *command)
    # a script of one's own may do no more than one may do oneself
    client: Any = redis.Redis.from_url(url_of(server, "billing"))
    with pytest.raises(redis.ResponseError, match=r"ACL|can't run"):
        script = "return redis.call('XADD', KEYS[1], '*', 'event', 'x')"
        client.execute_command("EVAL", script, 1, events)
    client.close()
    billing = EventBus(service="billing", redis_url=url_of(server, "billing"))
    with pytest.raises(BusUnavailable, match=r"forbids the command.*celeriac acl"):
        billing.emit("order.placed", {"n": 1})
    # people see and redrive
    session = Session(Settings.load({}, redis_url=url_of(server, "people")))
    patch = '[{"op": "add", "path": "/subject", "value": "edited"}]'
    for arguments in (["lag"], ["dead", "list"], ["doctor"], ["workers"], ["handlers"],
                      ["explain", "nothing"], ["history", "nothing"], ["watch", "--once"],
                      ["dead", "edit", "--all", "--patch", patch, "--yes"],
                      ["dead", "redrive", "--all", "--yes"]):  # fmt: skip
        answer = CliRunner().invoke(main, arguments, obj=session)
        assert "NOPERM" not in answer.output and answer.exit_code in (0, 1), answer.output


def shown(*arguments: str, session: Session) -> Any:
    return CliRunner().invoke(main, ["acl", *arguments], obj=session)


def test_the_command_prints_a_user_that_the_server_takes(
    server: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mail.py").write_text(
        "from celeriac import EventBus\n"
        "bus = EventBus(service='mail')\n"
        "bus.declare('mail.sent', dict)\n"
        "@bus.on('order.placed', '#.failed', queue='slow')\n"
        "def send(event): ...\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    session = Session(Settings.load({}, redis_url=server.url))
    answer = shown("-A", "mail", "--emits", "bounce", session=session)
    assert answer.exit_code == 0, answer.output
    assert "# password of mail: " in answer.stderr and "# password" not in answer.stdout
    assert answer.stdout.startswith("ACL SETUSER mail reset on #")
    for part in ("~celeriac:{mail}:emitted", "~celeriac:{bounce}:emitted", "~slow", "+scan",
                 '"(~celeriac:{*}:events'):  # fmt: skip
        assert part in answer.stdout, part
    line = shown("-A", "mail", "--password", "pw", "--format", "aclfile", session=session).stdout
    digest = "30c952fab122c3f9759f02a6d95c3758b246b4fee239957b2d4fee46e26170c4"
    assert line.startswith(f"user mail reset on #{digest} ")


def test_a_service_is_known_by_its_registered_handlers(server: EmbeddedServer) -> None:
    session = Session(Settings.load({}, redis_url=server.url))
    answer = shown("--service", "billing", "--emits", "payment", "--yes", session=session)
    assert "billing reads order and has the queues billing" in answer.stderr
    assert "(~celeriac:{order}:events ~celeriac:{order}:wakeup +xread " in answer.stdout
    assert shown("--service", "nobody", session=session).exit_code == 1
    assert shown(session=session).exit_code == 2
    assert shown("--service", "a", "--operator", "b", session=session).exit_code == 2
    assert shown("--service", "billing", "--emits", "a.b", session=session).exit_code == 2


def test_the_archive_is_known_before_it_is_registered(server: EmbeddedServer) -> None:
    session = Session(Settings.load({}, redis_url=server.url, namespace="unused"))
    answer = shown("--service", "archive", session=session)
    assert 0 == answer.exit_code
    assert answer.stdout.startswith("ACL SETUSER archive reset on #")
    assert "~unused:{*}:events" in answer.stdout and "registry" not in answer.stderr


def test_readers_may_move_delayed_events_where_that_is_wanted() -> None:
    part = ServiceAccess(service="billing", reads=["order"], enqueues_due=True)
    assert "(%W~celeriac:{order}:events +xadd)" in rules(part, KEYS)
    strict = ServiceAccess(service="billing", reads=["order"])
    assert "(%W~celeriac:{order}:events +xadd)" not in rules(strict, KEYS)


FORGED = ["+@all", "a ~*", "*", "celeriac:{order}:events", "a)", "a\n", "", "[a-z]"]


@pytest.mark.parametrize("name", FORGED)
def test_a_name_that_is_more_than_a_name_is_in_no_rule(name: str) -> None:
    parts = [
        ServiceAccess(service=name), ServiceAccess(service="a", reads=["o"], queues=[name]),
        ServiceAccess(service="a", emits=[name]),
        ServiceAccess(service="a", reads=["o"], acks=[name]),
    ]  # fmt: skip
    if name != "*":
        parts.append(ServiceAccess(service="a", reads=[name]))
    for part in parts:
        with pytest.raises(ConfigurationError):
            rules(part, KEYS)
    with pytest.raises(ConfigurationError):
        rules(ServiceAccess(service="a", reads=["o"]), Keys(name))
    with pytest.raises(ConfigurationError):
        operator_rules(Keys(name))


def test_a_forged_record_of_the_registry_gives_no_rule(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings.load({}, redis_url=server.url, namespace="forged")
    session = Session(settings)
    record = HandlerRecord(
        id="mail.send", service="mail", patterns=("order.placed",), queue="+@all ~*"
    )
    session.backend.registry.register(record)
    answer = shown("--service", "mail", "--yes", session=session)
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert "queue is not usable in an ACL rule: '+@all ~*'" in answer.stderr
    session.backend.registry.register(msgspec.structs.replace(record, queue="payroll"))
    refused = CliRunner().invoke(main, ["acl", "--service", "mail"], obj=session, input="n\n")
    # click 8.1 echoes the input
    assert (refused.exit_code, refused.stdout.strip(" n\n")) == (1, "")
    assert "has the queues payroll" in refused.stderr


def test_a_service_that_only_emits_adds_and_reads_nothing(server: EmbeddedServer) -> None:
    admin: Any = redis.Redis.from_url(server.url)
    web = ServiceAccess(service="web", emits=["cart"])
    admin.execute_command("ACL", "SETUSER", "web", "reset", "on", ">pw", *rules(web, KEYS))
    admin.execute_command("ACL", "LOG", "RESET")
    bus = EventBus(service="web", redis_url=url_of(server, "web"))
    bus.emit("cart.filled", {"n": 1})
    bus.emit_many([("cart.filled", {"n": 2})])
    bus.emit("cart.filled", {"n": 3}, delay=5)
    cancelled = bus.emit("cart.filled", {"n": 3}, delay=5)
    assert bus.cancel(cancelled, type="cart.filled")
    assert not bus.cancel(cancelled, type="cart.filled")
    event_log: Any = bus.service.backend.event_log
    events, (ids, older) = KEYS.events("cart"), KEYS.ids("cart")
    for _ in range(2):
        bus.emit("cart.filled", {"n": 4}, id="given")
        tried = encode(bus.event("cart.filled", {"n": 5}, id="tried"))
        event_log.append("cart", tried, EntryKind.MADE, time_ms())
    # The generations change.
    admin.hset(ids, "", "1 1")
    bus.emit("cart.filled", {"n": 6}, id="other")
    flush_emitted()
    assert 5 == admin.xlen(events)
    assert (2, 3) == (admin.hlen(ids), admin.hlen(older))
    assert 1 == admin.zcard(KEYS.delayed("cart"))
    assert b"7" == admin.hget(KEYS.emitted("cart"), "cart.filled")
    assert [] == admin.execute_command("ACL", "LOG")
    with pytest.raises(ConfigurationError, match="Give the type of the event"):
        bus.cancel(cancelled)
    admin.xgroup_create(events, "billing.charge", "0")
    for command in [
        ("XRANGE", events, "-", "+"), ("XREAD", "STREAMS", events, "0"),
        ("XINFO", "STREAM", events), ("XTRIM", events, "MAXLEN", "0"),
        ("XDEL", events, "1-0"), ("DEL", events),
        ("XSETID", events, "9999999999999-0"), ("XACK", events, "billing.charge", "1-0"),
        ("XREADGROUP", "GROUP", "billing.charge", "x", "STREAMS", events, ">"),
        ("XGROUP", "CREATE", events, "g", "0"), ("ZRANGE", KEYS.delayed("cart"), 0, -1),
        ("ZREMRANGEBYRANK", KEYS.delayed("cart"), 0, -1), ("SMEMBERS", KEYS.domains),
        ("DEL", KEYS.domains),
        ("HSET", KEYS.config, "retention", "1"), ("HSETNX", KEYS.config, "retention", "1"),
        ("HGETALL", KEYS.handlers), ("HSET", KEYS.workers, "x", "y"), ("LPUSH", "web", "{}"),
        ("HSET", KEYS.circuits, "x", "y"), ("PUBLISH", "/0.celery.pidbox", "{}"),
        ("HGETALL", ids), ("HKEYS", ids), ("DEL", ids), ("HDEL", ids, "x"), ("UNLINK", events),
        ("RENAME", ids, events), ("HGETALL", KEYS.delayed_events("cart")),
        ("HGET", KEYS.delayed_events("cart"), "x"), ("DEL", KEYS.delayed_events("cart")),
    ]:  # fmt: skip
        assert is_refused(server, "web", *command), command
    for call in ("'XRANGE', KEYS[1], '-', '+'", "'UNLINK', KEYS[1]", "'RENAME', KEYS[2], KEYS[1]"):
        with pytest.raises(redis.ResponseError, match=r"ACL|can't run"):
            event_log.client.eval(f"return redis.call({call})", 2, events, ids)
    admin.close()


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="no redis-server on PATH")
def test_redis_takes_the_rules_as_valkey_does(tmp_path: Path) -> None:
    """Redis 7.0 refuses the name of a command that it does not know, such as CLIENT SETINFO."""
    port = free_port()
    command = ["redis-server", "--port", str(port), "--dir", str(tmp_path), "--save", ""]
    process = guarded_popen(command, stdout=subprocess.DEVNULL)
    try:
        admin: Any = redis.Redis(port=port)
        # redis-py 5 itself does not retry a connection that was refused.
        Retry(ConstantBackoff(0.05), 200).call_with_retry(admin.ping, lambda _: None)
        part = ServiceAccess(service="a", reads=["*"], emits=["o"], enqueues_due=True, bounded=True)
        for name, found in (("a", rules(part, KEYS)), ("people", operator_rules(KEYS))):
            admin.execute_command("ACL", "SETUSER", name, "reset", "on", ">pw", *found)
        user: Any = redis.Redis(port=port, username="a", password="pw")
        assert user.ping()
        for refused in (("LIST",), ("KILL", "TYPE", "normal"), ("PAUSE", 1)):
            with pytest.raises(NoPermissionError):
                user.execute_command("CLIENT", *refused)
        user.close()
        admin.close()
    finally:
        process.kill_group()
        process.wait(10)


def test_a_bounded_emitter_measures_the_backlog(server: EmbeddedServer) -> None:
    admin: Any = redis.Redis.from_url(server.url)
    part = ServiceAccess(service="till", emits=["sale"], bounded=True)
    admin.execute_command("ACL", "SETUSER", "till", "reset", "on", ">pw", *rules(part, KEYS))
    admin.execute_command("ACL", "LOG", "RESET")
    bus = EventBus(service="till", redis_url=url_of(server, "till"), max_backlog=100)
    for n in range(3):
        bus.emit("sale.made", {"n": n})
    bus.emit("sale.made", {"n": 9}, delay=5)
    assert [] == admin.execute_command("ACL", "LOG")
    assert is_refused(server, "till", "XTRIM", KEYS.events("sale"), "MAXLEN", 0)
    admin.close()


def test_services_that_share_a_domain_respect_the_open_chunks_of_each_other(
    server: EmbeddedServer,
) -> None:
    """What the chunks of one service hold is not trimmed by a worker of another, and counts for an
    emitter of a third."""
    admin: Any = redis.Redis.from_url(server.url)
    keys = Keys("shared")  # whose bus has settings of its own
    parts = [
        ServiceAccess(service="press", reads=["news"]),
        ServiceAccess(service="radio", reads=["news"]),
        ServiceAccess(service="desk", emits=["news"], bounded=True),
    ]  # fmt: skip
    for part in parts:
        name = part.service
        admin.execute_command("ACL", "SETUSER", name, "reset", "on", ">pw", *rules(part, keys))
    desk, press, radio = (
        EventBus(
            service=name, redis_url=url_of(server, name), max_backlog=3, log_full="raise",
            retention_count=1, namespace=keys.namespace,
        ).service.backend
        for name in ("desk", "press", "radio")
    )  # fmt: skip
    groups = [Group("news", handler) for handler in ("press.print", "radio.read")]
    for group, backend in zip(groups, (press, radio), strict=True):
        backend.event_log.join("news", group.handler, "0")
    entries = [desk.event_log.append("news", b"{}", EntryKind.MADE) for _ in range(3)]
    admin.execute_command("ACL", "LOG", "RESET")
    for group, backend in zip(groups, (press, radio), strict=True):
        backend.chunks.fetch("w", [ChunkRequest(group, group.handler, 10, running=True)])
    assert radio.chunks.complete("w", groups[1], "radio.read", ChunkCompletion(entries[2], 3))
    assert (0, 0) == radio.event_log.trim("news", exact=True)
    assert isinstance(desk.event_log, BoundedRedisEventLog)
    assert desk.event_log.backlog("news") == Backlog(3, "press.print")
    assert [3, 0] == [group.pending for group in radio.event_log.groups("news")]
    assert press.chunks.complete("w", groups[0], "press.print", ChunkCompletion(entries[2], 3))
    assert (2, 0) == radio.event_log.trim("news", exact=True)
    assert [] == admin.execute_command("ACL", "LOG")
    admin.close()


def test_functions_run_with_the_rights_of_their_caller(server: EmbeddedServer) -> None:
    """Why emitting is no function: FCALL cannot narrow XADD, since the caller needs both."""
    admin: Any = redis.Redis.from_url(server.url)
    library = """#!lua name=emitting
    redis.register_function('append', function(keys, args)
      return redis.call('XADD', keys[1], '*', 'event', args[1])
    end)"""
    admin.execute_command("FUNCTION", "LOAD", "REPLACE", library)
    admin.execute_command(
        "ACL", "SETUSER", "caller", "reset", "on", ">pw", "+fcall|append", "~celeriac:{f}:events"
    )
    client: Any = redis.Redis.from_url(url_of(server, "caller"))
    with pytest.raises(redis.ResponseError, match=r"ACL|can't run"):
        client.execute_command("FCALL", "append", 1, "celeriac:{f}:events", "x")
    admin.execute_command("ACL", "SETUSER", "caller", "+xadd")
    client.execute_command("FCALL", "append", 1, "celeriac:{f}:events", "x")
    client.execute_command("XADD", "celeriac:{f}:events", f"{2**64 - 1}-{2**64 - 1}", "event", "x")
    client.close()
    admin.delete("celeriac:{f}:events")
    admin.execute_command("FUNCTION", "DELETE", "emitting")
    admin.close()


def test_the_unacknowledged_messages_of_all_apps_are_granted_to_none(
    server: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not any(
        "unacked" in rule for rule in rules(ServiceAccess(service="a", reads=["o"]), KEYS)
    )
    session = Session(Settings.load({}, redis_url=server.url))
    source = (
        "from celery import Celery\n"
        "from celeriac import EventBus\n"
        "app = Celery('old', broker='redis://127.0.0.1:1')\n"
        "app.conf.broker_transport_options = {options}\n"
        "bus = EventBus(app, service='old')\n"
        "@bus.on('order.placed')\n"
        "def f(event): ...\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    own = {"unacked_key": "old.u", "unacked_index_key": "old.i", "unacked_mutex_key": "old.m"}
    for name, options, granted in [
        ("shared", {}, None), ("emulated", {"unacked_key": "old.u"}, None),
        ("plain", {"ack_emulation": False}, ""), ("own", own, "~old.u ~old.i ~old.m"),
        ("prefixed", {"global_keyprefix": "old:"}, "~old:unacked ~old:unacked_index"),
    ]:  # fmt: skip
        (tmp_path / f"acks_{name}.py").write_text(source.replace("{options}", repr(options)))
        answer = shown("-A", f"acks_{name}", session=session)
        if granted is None:
            assert (answer.exit_code, answer.stdout) == (2, ""), name
            assert "ack_emulation" in answer.stderr
        else:
            assert answer.exit_code == 0, answer.output
            assert granted in answer.stdout
            assert "~unacked" not in answer.stdout


def is_refused(server: EmbeddedServer, name: str, *command: Any) -> bool:
    client: Any = redis.Redis.from_url(url_of(server, name))
    try:
        client.execute_command(*command)
    except NoPermissionError:
        return True
    finally:
        client.close()
    return False
