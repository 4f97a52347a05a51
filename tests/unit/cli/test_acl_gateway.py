"""A gateway for several services on a real server, with the user that `celeriac acl` prints."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from click.testing import CliRunner
from redis.exceptions import NoPermissionError

from celeriac import EventBus
from celeriac.cli.root import main
from celeriac.cli.session import Session
from celeriac.event.http_message import STRUCTURED
from celeriac.gateway import Token, gateway
from celeriac.settings import Settings
from celeriac.store.redis.keys import Keys
from celeriac.testing.server import EmbeddedServer, start_server
from tests.unit.gateway.conftest import App, ask, end

SEARCH, MAIL, PARTNER = (f"secret-of-{name}-of-32-characters!" for name in ("s", "m", "p"))
KEYS = Keys()


def shown(server: EmbeddedServer, *arguments: str) -> Any:
    session = Session(Settings.load({}, redis_url=server.url))
    return CliRunner().invoke(main, ["acl", *arguments], obj=session)


def create_user(server: EmbeddedServer, *arguments: str) -> str:
    """Create the user that the command prints; return its address."""
    line = shown(server, *arguments, "--password", "pw", "--format", "aclfile").stdout.strip()
    _, name, rules = line.split(" ", 2)
    client: Any = redis.Redis.from_url(server.url)
    client.execute_command("ACL", "SETUSER", name, *split_rules(rules))
    client.execute_command("ACL", "LOG", "RESET")
    client.close()
    return server.url.replace("redis://", f"redis://{name}:pw@")


def split_rules(rules: str) -> list[str]:
    """Selectors are in parentheses and contain spaces."""
    parts: list[str] = []
    for word in rules.split(" "):
        if parts and parts[-1].startswith("(") and not parts[-1].endswith(")"):
            parts[-1] += f" {word}"
        else:
            parts.append(word)
    return parts


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    with start_server(tmp_path_factory.mktemp("acl"), appendonly=False) as server:
        yield server


@pytest.fixture
def admin(server: EmbeddedServer) -> Iterator[Any]:
    client: Any = redis.Redis.from_url(server.url)
    yield client
    client.close()


@pytest.fixture
def app(server: EmbeddedServer) -> Iterator[App]:
    url = create_user(
        server, "--gateway", "edge", "--pulls", "search,mail", "--reads", "order,user",
        "--emits", "parcel",
    )  # fmt: skip
    bus = EventBus(service="gateway", redis_url=url, emit_timeout=5.0)
    app = gateway(
        bus,
        tokens=[
            Token("search", SEARCH, handlers=["search.*"]),
            Token("mail", MAIL, handlers=["mail.*", "stock.*"]),
            Token("partner", PARTNER, types=["parcel.*", "order.*"]),
        ],
    )
    yield app
    end(app)


def call(app: App, method: str, path: str, secret: str = SEARCH, **body: Any) -> Any:
    headers = {"authorization": f"Bearer {secret}"}
    answer = ask(app, method, f"/v1/handlers/{path}", json=body, headers=headers)
    assert answer.status_code in (200, 204), answer.text
    return answer.json() if answer.content else None


def fetch(app: App, id: str, secret: str = SEARCH, limit: int = 10, wait: float = 5) -> Any:
    return call(app, "POST", f"{id}/fetch", secret, limit=limit, wait=wait)["deliveries"]


def complete(app: App, id: str, delivery: Any, outcome: str, secret: str = SEARCH) -> Any:
    return call(
        app, "POST", f"{id}/complete", secret, entry=delivery["entry"],
        attempt=delivery["attempt"], outcome=outcome,
    )  # fmt: skip


def refused(admin: Any) -> list[tuple[str, str]]:
    return [(entry["object"], entry["reason"]) for entry in admin.acl_log()]


def test_it_serves_the_handlers_of_each_service(
    server: EmbeddedServer, app: App, admin: Any
) -> None:
    emitting = EventBus(service="shop", redis_url=server.url)
    options: dict[str, Any] = {
        "patterns": ["order.*", "user.*"], "retries": 1, "backoff": 0.05, "jitter": 0,
        "concurrency": 50, "rate_limit": "1000/s",
        "breaker": {"failures": 50, "window": 60, "recovery_timeout": 1},
    }  # fmt: skip
    call(app, "PUT", "search.index", **options)
    call(app, "PUT", "search.index", **{**options, "patterns": ["order.*"]})
    call(app, "PUT", "mail.send", MAIL, patterns=["order.*"], ordered=True, key="subject")
    call(
        app, "PUT", "mail.digest", MAIL, patterns=["order.*"], rate_limit_per_key="100/s",
        concurrency_per_key=1, fair=True,
    )  # fmt: skip
    assert fetch(app, "search.index", wait=0) == []
    for n in range(4):
        emitting.emit("order.placed", {"n": n}, subject="s", id=f"o-{n}")

    first, second, third, fourth = fetch(app, "search.index")
    assert "deadline" in call(
        app, "POST", "search.index/renew", entry=first["entry"], attempt=first["attempt"]
    )
    outcomes = [
        complete(app, "search.index", delivery, outcome)["state"]
        for delivery, outcome in (
            (first, "processed"), (second, "skipped"), (third, "dead"), (fourth, "failed"),
        )
    ]  # fmt: skip
    assert outcomes == ["processed", "skipped", "dead", "scheduled"]
    [again] = fetch(app, "search.index", limit=1)
    assert complete(app, "search.index", again, "failed")["state"] in ("dead", "processed")

    for id in ("mail.send", "mail.digest"):
        done: set[str] = set()
        deadline = time.monotonic() + 20
        while len(done) < 4 and time.monotonic() < deadline:
            for delivery in fetch(app, id, MAIL, wait=1):
                complete(app, id, delivery, "processed", MAIL)
                done.add(delivery["event"]["id"])
        assert {f"o-{n}" for n in range(4)} <= done
    handlers = EventBus(service="x", redis_url=server.url).service.backend.registry
    assert {worker.service for worker in handlers.workers()} == {"search", "mail"}
    call(app, "DELETE", "mail.digest", MAIL)
    assert "mail.digest" not in handlers.handlers()
    assert refused(admin) == []


def test_a_lost_attempt_is_reclaimed(server: EmbeddedServer, app: App, admin: Any) -> None:
    call(app, "PUT", "search.index", patterns=["order.*"], lease=1)
    EventBus(service="shop", redis_url=server.url).emit("order.placed", {"n": 1}, id="lost")
    lost = [d for d in fetch(app, "search.index") if d["event"]["id"] == "lost"]
    assert lost
    deadline = time.monotonic() + 20
    again: list[Any] = []
    while not again and time.monotonic() < deadline:
        again = [d for d in fetch(app, "search.index", wait=2) if d["event"]["id"] == "lost"]
    assert [d["attempt"] for d in again] == [2]
    complete(app, "search.index", again[0], "processed")
    assert refused(admin) == []


def test_events_are_received_in_the_domains_that_it_emits(
    server: EmbeddedServer, app: App, admin: Any
) -> None:
    def post(type: str) -> int:
        event = {"specversion": "1.0", "id": type, "source": "partner", "type": type}
        headers = {"authorization": f"Bearer {PARTNER}", "content-type": STRUCTURED}
        return ask(app, "POST", "/events", content=json.dumps(event), headers=headers).status_code

    assert post("parcel.sent") == 202
    assert refused(admin) == []
    assert post("order.placed") == 503
    assert {object for object, _ in refused(admin)} <= {
        KEYS.events("order"), *KEYS.ids("order"), KEYS.emitted("order"), "evalsha", "eval",
    }  # fmt: skip
    assert admin.xlen(KEYS.events("parcel")) == 1


def test_it_serves_no_other_service_and_no_other_domain(
    server: EmbeddedServer, app: App, admin: Any
) -> None:
    def status(secret: str, id: str, *patterns: str) -> int:
        headers = {"authorization": f"Bearer {secret}"}
        body = {"patterns": [*patterns]}
        return ask(app, "PUT", f"/v1/handlers/{id}", json=body, headers=headers).status_code

    assert status(SEARCH, "search.other", "payment.*") == 503
    assert status(MAIL, "stock.count", "order.*") == 503
    edge: Any = redis.Redis.from_url(server.url.replace("redis://", "redis://edge:pw@"))
    order = KEYS.events("order")
    for command in [
        ("HGETALL", KEYS.stats("order", "billing.charge")),
        ("HSET", KEYS.matrix("order", "billing.charge")[0], "a", "b"),
        ("XADD", order, "*", "event", "x"), ("XDEL", order, "1-0"), ("DEL", order),
        ("XRANGE", KEYS.events("payment"), "-", "+"), ("XRANGE", KEYS.dead("payment"), "-", "+"),
        ("LPUSH", "search", "{}"), ("LPUSH", "edge", "{}"), ("PUBLISH", "/0.celery.pidbox", "x"),
        ("DEL", "celeriac:handlers"), ("KEYS", "*"), ("SCAN", 0), ("FLUSHALL",),
    ]:  # fmt: skip
        with pytest.raises(NoPermissionError):
            edge.execute_command(*command)
    edge.close()


def test_delayed_events_enter_where_that_is_granted(server: EmbeddedServer, admin: Any) -> None:
    """So a bus without any Celery worker works too."""
    url = create_user(
        server, "--gateway", "due", "--pulls", "due", "--reads", "later", "--enqueue-due"
    )
    app = gateway(
        EventBus(service="gateway", redis_url=url, emit_timeout=5.0),
        tokens=[Token("due", SEARCH, handlers=["due.*"])],
    )
    call(app, "PUT", "due.note", patterns=["later.*"])
    EventBus(service="shop", redis_url=server.url).emit("later.due", id="d-1", delay=0.3)
    deadline = time.monotonic() + 20
    found: list[Any] = []
    while not found and time.monotonic() < deadline:
        found = fetch(app, "due.note", wait=2)
    assert [delivery["event"]["id"] for delivery in found] == ["d-1"]
    end(app)
    assert refused(admin) == []


def test_all_domains_are_read_where_that_is_wanted(server: EmbeddedServer, admin: Any) -> None:
    url = create_user(server, "--gateway", "wide", "--pulls", "audit", "--reads", "*")
    app = gateway(
        EventBus(service="gateway", redis_url=url, emit_timeout=5.0),
        tokens=[Token("audit", SEARCH, handlers=["audit.*"])],
    )
    call(app, "PUT", "audit.note", patterns=["#"])
    EventBus(service="shop", redis_url=server.url).emit("payment.captured", {"n": 1}, id="p-1")
    ids: list[str] = []
    deadline = time.monotonic() + 20
    while "p-1" not in ids and time.monotonic() < deadline:
        for delivery in fetch(app, "audit.note", wait=2):
            ids.append(delivery["event"]["id"])
            complete(app, "audit.note", delivery, "processed")
    assert "p-1" in ids
    end(app)
    assert refused(admin) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--gateway", "edge", "--pulls", "search"], "--reads is missing"),
        (["--gateway", "edge", "--reads", "order"], "--pulls is missing"),
        (["--pulls", "search", "--operator", "ops"], "Pass --gateway NAME"),
        (["--gateway", "edge", "--service", "search"], "Pass one of"),
        (["--gateway", "edge", "--pulls", "se*", "--reads", "order"], "se*"),
        (["--gateway", "edge ~*", "--pulls", "a", "--reads", "order"], "edge ~*"),
        (["--gateway", "edge", "--pulls", "a", "--reads", "or.der"], "--reads"),
    ],
)
def test_what_does_not_fit_is_refused(
    server: EmbeddedServer, arguments: list[str], said: str
) -> None:
    answer = shown(server, *arguments)
    assert answer.exit_code == 2 and said in answer.stderr
    assert answer.stdout == ""


def test_a_gateway_that_only_receives_reads_nothing(server: EmbeddedServer) -> None:
    printed = shown(server, "--gateway", "door", "--emits", "parcel").stdout
    assert printed.startswith("ACL SETUSER door reset on #")
    assert "xreadgroup" not in printed and "celeriac:handlers" not in printed
