"""`bus.push` and `bus.webhooks` with real workers, and an endpoint that fails and recovers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from standardwebhooks import Webhook

from celeriac.push import new_secret
from tests.http_endpoint import Answered, HttpEndpoint, Received, http_endpoint


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[HttpEndpoint]:
    with http_endpoint() as server:
        monkeypatch.setenv("ENDPOINT_URL", server.url)
        monkeypatch.setenv("ENDPOINT_SECRET", new_secret())
        yield server


def to(endpoint: HttpEndpoint, target: str) -> list[Received]:
    return [request for request in endpoint.received if request.target == target]


@pytest.mark.parametrize("pool", ["prefork", "threads", "gevent"])
def test_an_endpoint_that_fails_hangs_and_recovers_loses_nothing(
    deployment: Any, endpoint: HttpEndpoint, pool: str
) -> None:
    deployment.worker(app="pushing", pool=pool, processes=4)
    deployment.joined("billing.index", "order")
    taken: list[str] = []

    def answer(request: Received) -> Answered:
        number = len(endpoint.received)
        if number <= 15:
            # Each kind of failure, in turn. One that hangs takes as long as `timeout`, which is
            # longer than any other answer takes on a loaded machine.
            return (Answered(503), Answered(hangs=True), Answered(drops=True))[number % 3]
        taken.append(request.headers["ce-id"])
        return Answered(204)

    endpoint.answer = answer
    events = [deployment.bus.event("order.placed", {"n": n}) for n in range(40)]
    deployment.bus.emit_many(events)
    deployment.until_settled()
    assert Counter(taken) == dict.fromkeys((event.id for event in events), 1)
    totals = deployment.matrix.totals()
    assert (totals.missing, totals.dead) == (0, 0)


def test_a_worker_that_is_killed_in_a_request_repeats_it_with_the_same_id(
    deployment: Any, endpoint: HttpEndpoint
) -> None:
    endpoint.answer = lambda request: Answered(hangs=True)
    first = deployment.worker(app="pushing")
    deployment.joined("billing.slow", "slow")
    id = deployment.bus.emit("slow.one", {"n": 1})
    deployment.until(lambda: endpoint.waiting == 1, what="the request")
    endpoint.answer = lambda request: 200
    first.kill()
    deployment.worker(app="pushing")
    deployment.until_settled()
    assert endpoint.ids() == [id, id]
    assert deployment.matrix.totals().missing == 0


def test_one_process_waits_for_many_slow_endpoints(deployment: Any, endpoint: HttpEndpoint) -> None:
    """In one event loop: no request occupies a process."""
    endpoint.answer = lambda request: Answered(together=46)
    deployment.lease = 10.0
    deployment.worker(app="pushing", pool="threads", processes=100)
    deployment.joined("billing.slow", "slow")
    deployment.bus.emit_many([deployment.bus.event("slow.one", n) for n in range(90)])
    deployment.until_settled()
    assert endpoint.most_waiting >= 46
    assert len(endpoint.received) == 90


def test_one_failing_endpoint_delays_no_other_and_gets_everything_later(
    deployment: Any, endpoint: HttpEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint.answer = lambda request: 503 if request.target == "/bolt" else 200
    deployment.worker(app="pushing")
    deployment.joined("billing.webhooks", "invoice")
    ids = [deployment.bus.emit("invoice.sent", n) for n in range(30)]
    deployment.until(lambda: len(to(endpoint, "/acme")) >= 30, what="all of acme")
    circuits = deployment.bus.service.backend.circuits
    deployment.until(lambda: "billing.webhooks_post/bolt" in circuits.all(), what="the circuit")
    endpoint.answer = lambda request: 200
    deployment.until_settled()
    assert deployment.matrix.totals().dead == 0
    secret = Webhook(deployment.environment["ENDPOINT_SECRET"])
    for name in ("/acme", "/bolt"):
        for request in to(endpoint, name):
            secret.verify(request.body.decode(), request.headers)
        assert {json.loads(request.body)["id"] for request in to(endpoint, name)} == {*ids}
