"""What real workers leave to watch: one trace over processes, and lines that name the event."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any
from urllib.request import urlopen

import pytest

from celeriac import EventBus
from celeriac.testing.ports import free_port
from tests.e2e.conftest import Deployment

# Of a chain whose first handler fails once.
SPANS = Counter(
    {
        "dispatch billing.charge": 2,
        "process order.placed": 2,
        "send payment.captured": 1,
        "dispatch shipping.send": 1,
        "process payment.captured": 1,
        "send shipment.sent": 1,
    }
)


def spans_of(deployment: Deployment) -> list[dict[str, Any]]:
    files = deployment.directory.glob("spans/*.jsonl")
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def names_of(spans: list[dict[str, Any]]) -> Counter[str]:
    return Counter(span["name"] for span in spans)


def observed(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, **environment: str
) -> EventBus:
    (deployment.directory / "spans").mkdir()
    monkeypatch.setenv("SPANS", str(deployment.directory / "spans"))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for service, handler, domain in (
        ("billing", "billing.charge", "order"),
        ("shipping", "shipping.send", "payment"),
    ):
        deployment.worker(service, app="observed", processes=1)
        deployment.joined(handler, domain)
    return EventBus(service="shop", redis_url=deployment.server.url)


def test_a_chain_over_processes_is_one_trace_with_its_retry(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = observed(deployment, monkeypatch, CELERIAC_TRACING="on")
    # The one who emits has tracing off, and hands on the context of a request that it was given.
    trace, request = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    bus.emit("order.placed", {"fails": True}, id="o", traceparent=f"00-{trace}-{request}-01")
    log = bus.service.backend.event_log
    deployment.until(lambda: log.length("shipment") == 1, what="the end of the chain")
    deployment.until_settled()
    # A dispatcher's span may end after the run that it began.
    deployment.until(lambda: names_of(spans_of(deployment)) >= SPANS, what="all spans")
    spans = spans_of(deployment)
    assert names_of(spans) == SPANS
    assert {f"0x{trace}"} == {span["context"]["trace_id"] for span in spans}
    by_name: dict[str, list[dict[str, Any]]] = {}
    for span in sorted(spans, key=lambda span: span["start_time"]):
        by_name.setdefault(span["name"], []).append(span)
    first, second = by_name["process order.placed"]
    assert ("ERROR", "UNSET") == tuple(s["status"]["status_code"] for s in (first, second))
    assert (1, 2) == tuple(s["attributes"]["celeriac.attempt"] for s in (first, second))
    assert [f"0x{request}"] * 2 == [span["parent_id"] for span in (first, second)]
    (captured,) = by_name["send payment.captured"]
    assert second["context"]["span_id"] == captured["parent_id"]
    (send,) = by_name["process payment.captured"]
    assert captured["context"]["span_id"] == send["parent_id"]
    assert send["context"]["span_id"] == by_name["send shipment.sent"][0]["parent_id"]
    tasks = by_name["dispatch billing.charge"]
    assert [f"0x{request}"] * 2 == [span["parent_id"] for span in tasks]
    assert captured["context"]["span_id"] == by_name["dispatch shipping.send"][0]["parent_id"]


def test_lines_of_handlers_threads_and_coroutines_name_the_event(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = observed(deployment, monkeypatch, CELERIAC_LOG_FORMAT="json")
    bus.emit("order.placed", {"fails": True}, id="o")
    log = bus.service.backend.event_log
    deployment.until(lambda: log.length("shipment") == 1, what="the end of the chain")
    deployment.until_settled()
    said = [
        json.loads(line)
        for worker in deployment.workers
        for line in worker.said().splitlines()
        if line.startswith("{")
    ]
    lines = {
        (one["message"], one.get("attempt")): one for one in said if one["logger"] == "observed"
    }
    billing = {"charging", "from a thread"}
    assert {(m, n) for m in billing for n in (1, 2)} <= lines.keys()
    for (message, _), line in lines.items():
        handler = "billing.charge" if message in billing else "shipping.send"
        event = "o" if message in billing else "o.payment"
        assert (handler, event, "o") == (
            line["handler"], line["event_id"], line["correlation_id"]
        )  # fmt: skip
    assert {("from a coroutine", 1), ("from a thread of it", 1)} <= lines.keys()
    failed = [one for one in said if " failed on " in one["message"]]
    assert [("billing.charge", "o", 1)] == [
        (one["handler"], one["event_id"], one["attempt"]) for one in failed
    ]
    ready = [one for one in said if one["message"].endswith(" ready.")]
    assert ready and not any("event_id" in one for one in ready)


def scrape(port: int) -> str:
    try:
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""


def test_two_workers_of_a_host_share_one_port_and_survive_each_other(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    bus = observed(deployment, monkeypatch, CELERIAC_METRICS_PORT=str(port))
    bus.emit_many([("order.placed", {"fails": False}) for _ in range(20)])
    done = 'celeriac_processed_total{handler="shipping.send",service="shipping",'
    done += 'type="payment.captured"} 20.0'
    deployment.until(lambda: done in scrape(port), what="the metrics")
    first, second = deployment.workers
    serving = first if "metrics at http" in first.said() else second
    serving.kill()
    # the counts come from the delivery store: whoever serves tells the same
    deployment.until(
        lambda: done in scrape(port) and "celeriac_up 1.0" in scrape(port), what="the other one"
    )
