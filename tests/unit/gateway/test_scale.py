"""`GET /v1/scale/{service}`"""

from __future__ import annotations

from typing import Any

import pytest
import redis

from celeriac import Event, EventBus
from celeriac.gateway import Token, gateway
from celeriac.testing.store import Store
from celeriac.testing.worker import MemoryWorker
from tests.unit.gateway.conftest import AUTHORIZED, PARTNER, SECRET, App, ask

NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture
def backlog(bus: EventBus, store: Store) -> None:
    """Three events ahead of a handler."""

    @bus.on("order.placed")
    def charge(event: Event) -> None: ...

    MemoryWorker(bus).join()
    for _ in range(3):
        bus.emit("order.placed", {})


def test_the_number_of_workers_is_answered_with_its_reasons(app: App, backlog: None) -> None:
    answer = ask(app, "GET", "/v1/scale/billing?drain_target=10&processes=2", headers=AUTHORIZED)
    assert answer.status_code == 200
    body = answer.json()
    assert (body["service"], body["workers"], body["processes"]) == ("billing", 1, 2)
    assert [handler["ahead"] for handler in body["handlers"]] == [3]
    assert body["reasons"] == ["billing.charge: run time not measured yet; one worker measures it"]


def test_a_request_without_a_token_is_refused(app: App, backlog: None) -> None:
    assert ask(app, "GET", "/v1/scale/billing").status_code == 401
    wrong = {"authorization": "Bearer wrong"}
    assert ask(app, "GET", "/v1/scale/billing", headers=wrong).status_code == 401


@pytest.mark.parametrize("scale", [[], ["shop", "bill"]])
def test_a_token_reads_only_the_scale_of_its_services(
    bus: EventBus, backlog: None, scale: list[str]
) -> None:
    """The answer names handlers, which concern no partner."""
    app = gateway(bus, tokens=[Token("partner", SECRET, types=["#"], scale=scale)])
    answer = ask(app, "GET", "/v1/scale/billing", headers=AUTHORIZED)
    assert answer.status_code == 403
    assert answer.json()["detail"].startswith(
        "the token partner may not read the scale of billing. Set scale= in it"
    )


def test_a_token_of_a_service_reads_its_scale(bus: EventBus, backlog: None) -> None:
    app = gateway(bus, tokens=[Token("partner", SECRET, scale=["billing"])])
    assert ask(app, "GET", "/v1/scale/billing", headers=AUTHORIZED).status_code == 200


def test_an_unknown_service_is_not_found_unless_a_number_is_given(app: App, store: Store) -> None:
    answer = ask(app, "GET", "/v1/scale/biling", headers=AUTHORIZED)
    assert answer.status_code == 404
    assert answer.json()["detail"].startswith("service not found: biling.")
    answer = ask(app, "GET", "/v1/scale/biling?unknown=1", headers=AUTHORIZED)
    assert (answer.status_code, answer.json()["workers"]) == (200, 1)


@pytest.mark.parametrize(
    "query", ["drain_target=soon", "drain_target=0", "target=1", "max=1&max=2", "unknown=-1"]
)
def test_a_wrong_parameter_is_a_bad_request(app: App, backlog: None, query: str) -> None:
    answer = ask(app, "GET", f"/v1/scale/billing?{query}", headers=AUTHORIZED)
    assert answer.status_code == 400
    assert query.partition("=")[0] in answer.json()["detail"]


def test_without_redis_the_answer_is_503_and_names_no_server() -> None:
    """Then KEDA changes nothing."""
    app = gateway(EventBus(service="billing", redis_url=NOWHERE), tokens=[PARTNER])
    answer = ask(app, "GET", "/v1/scale/billing?unknown=1", headers=AUTHORIZED)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "127.0.0.1" not in answer.text


def test_a_user_of_redis_that_may_not_read_is_reported_in_the_log(
    redis_url: str, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    client: Any = redis.Redis.from_url(redis_url)
    client.execute_command("ACL", "SETUSER", namespace, "reset", "on", ">pw", "+ping")
    url = redis_url.replace("redis://", f"redis://{namespace}:pw@")
    app = gateway(EventBus(service="billing", redis_url=url), tokens=[PARTNER])
    try:
        answer = ask(app, "GET", "/v1/scale/billing", headers=AUTHORIZED)
    finally:
        client.execute_command("ACL", "DELUSER", namespace)
        client.close()
    assert answer.status_code == 503
    assert answer.json()["detail"] == "the load cannot be read from Redis"
    assert "lacks a permission" in caplog.text


def test_other_methods_are_not_allowed(app: App) -> None:
    assert ask(app, "POST", "/v1/scale/billing", headers=AUTHORIZED).status_code == 405


def test_the_target_of_a_request_is_on_the_bus(app: App, backlog: None, store: Store) -> None:
    """`celeriac doctor` reads there whether a service may be without a worker."""
    query = "/v1/scale/billing?cooldown=60&queue=billing"
    assert ask(app, "GET", query, headers=AUTHORIZED).status_code == 200
    [target] = store.registry.scale_targets().values()
    assert (target.name, target.cooldown, target.workers) == ("billing:billing", 60.0, 1)
    workers = [w for w in store.registry.workers() if w.processes]
    assert (target.unmet_since_ms is None) == bool(workers)
