"""The dashboard and the alerts ask for series and labels that a real scrape has."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from celeriac.delivery.tenant_counts import TenantCount
from celeriac.event import build_event, encode
from celeriac.observability.metrics.definition import METRICS
from celeriac.registry.scale_target import ScaleTargetRecord
from celeriac.reply import RequestEnd, RequestOutcome
from celeriac.schedule.schedule import make_schedule
from celeriac.testing.memory import MemoryBus
from tests.unit.observability.metrics.conftest import Scrape
from tests.unit.observability.metrics.promql import NotPromQL, Use, uses

ROOT = Path(__file__).parents[4]
DASHBOARD: dict[str, Any] = json.loads((ROOT / "config/grafana/celeriac.json").read_text())
RULES: dict[str, Any] = yaml.safe_load((ROOT / "config/prometheus/celeriac.rules.yml").read_text())
ALERTS: list[dict[str, Any]] = [rule for group in RULES["groups"] for rule in group["rules"]]
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def expressions() -> Iterator[tuple[str, str]]:
    for panel in PANELS:
        for target in panel["targets"]:
            # Grafana puts these in before Prometheus sees them
            expr = target["expr"].replace("$__rate_interval", "1m")
            yield panel["title"], re.sub(r"\$\w+", "x", expr)
    for alert in ALERTS:
        yield alert["alert"], alert["expr"]


ALL = list(expressions())


@pytest.fixture
def series(shop: MemoryBus, scrape: Scrape) -> dict[str, set[str]]:
    """Series → its labels, of a real scrape."""
    schedule = make_schedule("report.due", service="reports", every=60)
    schedules = shop.store.backend.schedules
    schedules.declare(schedule, 60_000)
    body = encode(build_event("report.due", None, source="reports", id="a"))
    schedules.tick(schedule, expected_ms=60_000, next_ms=120_000, tick_ms=60_000, body=body)
    shop.store.event_log.register_domains(["report"])
    processed, dead = (
        TenantCount("processed", "acme", "billing.charge"),
        TenantCount("dead", "acme", "billing.charge"),
    )
    shop.store.backend.tenant_counts.note([TenantCount("emitted", "acme"), processed, dead])
    registry = shop.store.backend.registry
    registry.note_scale_target(
        ScaleTargetRecord(service="billing", cooldown=60, workers=0, requested_ms=registry.now_ms())
    )
    replies = shop.store.backend.replies
    replies.open("m1", "price.asked", 1000)
    replies.count_end(RequestEnd("m1", "price.asked", RequestOutcome.REPLIED, 1000))
    found: dict[str, set[str]] = {}
    for samples in scrape(shop.store.backend).values():
        for sample in samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def test_each_expression_uses_existing_series_and_labels(series: dict[str, set[str]]) -> None:
    for where, expression in ALL:
        found, grouped = uses(expression)
        assert found, where
        for use in found:
            assert use.series in series, (where, use.series)
            assert use.labels <= series[use.series], (where, use)
        known = set.union(*(series[use.series] for use in found)) | {"instance"}
        assert grouped <= known, (where, grouped - known)


def test_what_a_legend_or_a_message_names_is_a_label_that_is_remaining_labels(
    series: dict[str, set[str]],
) -> None:
    for panel in PANELS:
        for target in panel["targets"]:
            expr = re.sub(r"\$\w+", "x", target["expr"].replace("$__rate_interval", "1m"))
            assert _named(target["legendFormat"]) <= _remaining_labels(expr, series), panel["title"]
    for alert in ALERTS:
        text = " ".join(alert["annotations"].values())
        named = set(re.findall(r"\$labels\.(\w+)", text))
        assert named <= _remaining_labels(alert["expr"], series), alert["alert"]


def _named(legend: str) -> set[str]:
    return set(re.findall(r"{{(\w+)}}", legend))


def _remaining_labels(expression: str, series: dict[str, set[str]]) -> set[str]:
    """The labels that the result has: those grouped by, or all where nothing is grouped."""
    found, _ = uses(expression)
    by = [set(re.split(r",\s*", one)) for one in re.findall(r"\bby \(([^)]*)\)", expression)]
    return set.intersection(*by) if by else set.union(*(series[use.series] for use in found))


def test_every_metric_is_on_the_dashboard() -> None:
    shown = " ".join(expression for _, expression in ALL)
    assert [name for name in METRICS if name not in shown] == []


def test_sums_count_each_series_of_several_targets_once() -> None:
    """Every scraped target reports the same values for the bus."""
    for where, expression in ALL:
        for inside in re.findall(r"\bsum(?: by \([^)]*\))? ?\(\s*([^\s(]+)", expression):
            assert inside == "max", (where, expression)


def test_panels_have_ids_of_their_own_and_do_not_overlap() -> None:
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_alerts_have_what_a_person_needs_and_the_page_names_each() -> None:
    for alert in ALERTS:
        assert {"summary", "description"} <= alert["annotations"].keys()
        assert alert["labels"]["severity"] in ("critical", "warning")
    page = (ROOT / "docs/how-to/metrics.md").read_text()
    assert [alert["alert"] for alert in ALERTS] == re.findall(r"^\| `(Celeriac\w+)`", page, re.M)


def test_the_compose_file_can_be_given_a_prometheus_by_taking_comments_away() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    taken = re.sub(r"^(  )# (  )?(?=prometheus:|metrics:|  \w+: )", r"\1\2", text, flags=re.M)
    compose = yaml.safe_load(taken)
    prometheus = compose["services"]["prometheus"]
    assert prometheus["ports"] == ["127.0.0.1:9090:9090"]
    mounted = [volume.split(":")[0] for volume in prometheus["volumes"]]
    assert mounted == ["./config/prometheus", "metrics"] and "metrics" in compose["volumes"]
    scraped = yaml.safe_load((ROOT / mounted[0] / "prometheus.yml").read_text())
    for rules in scraped["rule_files"]:
        assert (ROOT / mounted[0] / rules).is_file()
    [job] = scraped["scrape_configs"]
    service, port = job["static_configs"][0]["targets"][0].split(":")
    assert service in compose["services"] and f"CELERIAC_METRICS_PORT: {port}" in text


@pytest.mark.parametrize(
    "broken", ["sum(rate(a[5m])", "sum(a))", "fate(a[5m])", "a{b='c'", "sum by a", "a ? b"]
)
def test_the_reader_refuses_what_is_no_promql(broken: str) -> None:
    with pytest.raises(NotPromQL):
        uses(broken)


def test_the_reader_finds_series_labels_and_groups() -> None:
    found, grouped = uses('sum by (x, y) (rate(a_total{b="c{", d!~"e"}[5m])) / on (x) z > 0.5')
    assert found == [Use("a_total", frozenset({"b", "d"})), Use("z", frozenset())]
    assert grouped == {"x", "y"}
