"""Convert a snapshot to families of samples for prometheus_client."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from celeriac.circuit_breaker import CircuitState
from celeriac.delivery import HandlerStats
from celeriac.delivery.counters import OTHER, Histogram, upper_bound_s
from celeriac.observability.metrics.bound import Bounds
from celeriac.observability.metrics.definition import METRICS, Definition
from celeriac.observability.metrics.snapshot import GroupSnapshot, Snapshot
from celeriac.reply import RequestOutcome, RequestStats, by_type
from celeriac.tracking import HandlerLag

STATES = ("waiting", "queued", "running", "scheduled", "blocked")
# Bounds of durations: 2**k ms, from 250 µs to 17 minutes. A histogram is 15 lines of each scrape.
BOUNDS = range(-2, 21, 2)
CHUNK_BOUNDS = range(11)  # 2**k events

Labels = tuple[str, str, str]  # service, handler, type
Family = Any  # the three take different arguments
_KINDS: Mapping[str, Family] = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
}


def families(snapshot: Snapshot, bounds: Bounds) -> list[Metric]:
    """Return every metric except `celeriac_up`."""
    made = {name: family(name) for name in METRICS if name != "celeriac_up"}
    made["celeriac_read_seconds"].add_metric([], snapshot.took_s)
    _of_logs(made, snapshot, bounds)
    _of_groups(made, snapshot)
    _of_types(made, snapshot, bounds)
    _of_tenants(made, snapshot)
    _of_instances(made, snapshot)
    _of_schedules(made, snapshot)
    _of_requests(made, snapshot, bounds)
    _of_workers(made, snapshot)
    return list(made.values())


def family(name: str) -> Family:
    """Return a family without samples."""
    return family_of(name, METRICS[name])


def family_of(name: str, definition: Definition) -> Family:
    """Return a family of this definition without samples."""
    return _KINDS[definition.kind](name, definition.help, labels=definition.labels)


def _of_logs(made: Mapping[str, Family], snapshot: Snapshot, bounds: Bounds) -> None:
    for volume in snapshot.stream_stats:
        bounds.types.learn(sorted(volume.emitted, key=lambda type: -volume.emitted[type]))
        emitted: Counter[str] = Counter()
        for type, count in volume.emitted.items():
            emitted[bounds.label(type)] += count
        for type, count in sorted(emitted.items()):
            made["celeriac_emitted"].add_metric([volume.domain, type], count)
        made["celeriac_appended"].add_metric([volume.domain], volume.appended)
        made["celeriac_log_length"].add_metric([volume.domain], volume.length)
        made["celeriac_delayed"].add_metric([volume.domain], volume.delayed)


def _of_groups(made: Mapping[str, Family], snapshot: Snapshot) -> None:
    circuits: dict[tuple[str, str], CircuitState] = {}
    for group in snapshot.groups:
        lag, labels = group.lag, _labels(group.lag)
        for state in STATES:
            made["celeriac_deliveries"].add_metric([*labels, state], getattr(lag, state))
        made["celeriac_lag_events"].add_metric(labels, lag.unfinished)
        made["celeriac_lag_seconds"].add_metric(labels, lag.oldest_s or 0.0)
        made["celeriac_dead_letters"].add_metric(labels, lag.dead)
        for state in ("queued", "running"):
            lost = group.stats.get(f"lost {state}", 0)
            made["celeriac_leases_lost"].add_metric([*labels, state], lost)
        _add_chunks(made["celeriac_chunk_events"], labels, group.stats)
        circuits[lag.service, lag.handler] = lag.circuit
    for (service, handler), now in sorted(circuits.items()):
        for circuit in CircuitState:
            labels = [service, handler, circuit.value]
            made["celeriac_circuit"].add_metric(labels, int(circuit is now))


def _labels(lag: HandlerLag) -> list[str]:
    return [lag.service, lag.handler, lag.domain]


def _add_chunks(family: Family, labels: Sequence[str], stats: Mapping[str, int]) -> None:
    sizes = {int(k.split()[1]): n for k, n in stats.items() if k.startswith("chunk ")}
    buckets = [
        (str(2.0**k), sum(n for size, n in sizes.items() if size <= k)) for k in CHUNK_BOUNDS
    ]
    buckets.append(("+Inf", sum(sizes.values())))
    family.add_metric(labels, buckets, stats.get("claimed", 0))


def _of_types(made: Mapping[str, Family], snapshot: Snapshot, bounds: Bounds) -> None:
    by_type = _by_type(snapshot.groups, bounds)
    for labels, stats in sorted(by_type.items()):
        counts = {
            "delivered": stats.wait.count,
            "processed": stats.processed,
            "failed": stats.retried + stats.dead,
            "retried": stats.retried,
            "dead": stats.dead,
        }
        for name, count in counts.items():
            made[f"celeriac_{name}"].add_metric(labels, count)
        if stats.skipped:
            made["celeriac_skipped"].add_metric(labels, stats.skipped)
    for labels, stats in _timed(by_type, bounds).items():
        for name, histogram in (
            ("wait", stats.wait),
            ("run", stats.run),
            ("completion", stats.total),
        ):
            add_histogram(made[f"celeriac_{name}_seconds"], labels, histogram)


def _by_type(groups: Sequence[GroupSnapshot], bounds: Bounds) -> dict[Labels, HandlerStats]:
    by_type: defaultdict[Labels, HandlerStats] = defaultdict(HandlerStats)
    for state in groups:
        bounds.types.learn(sorted(state.counters, key=lambda type: -state.counters[type].attempts))
        for type, stats in state.counters.items():
            by_type[state.lag.service, state.lag.handler, bounds.label(type)].add(stats)
    return by_type


def _timed(by_type: Mapping[Labels, HandlerStats], bounds: Bounds) -> dict[Labels, HandlerStats]:
    """Return the types with series of their own, and for each handler the sum of the others."""
    bounds.timed.learn(sorted(by_type, key=lambda labels: -by_type[labels].attempts))
    timed: defaultdict[Labels, HandlerStats] = defaultdict(HandlerStats)
    for labels, stats in by_type.items():
        service, handler, _ = labels
        timed[labels if labels in bounds.timed else (service, handler, OTHER)].add(stats)
    return dict(sorted(timed.items()))


def add_histogram(family: Family, labels: Iterable[str], histogram: Histogram) -> None:
    """Add a sample with these labels to a family of histograms in seconds."""
    family.add_metric([*labels], list(_buckets(histogram)), histogram.sum_us / 1e6)


def _buckets(histogram: Histogram) -> Iterator[tuple[str, int]]:
    for bound in BOUNDS:
        below = sum(n for bucket, n in histogram.buckets.items() if bucket <= bound)
        yield str(upper_bound_s(bound)), below
    yield "+Inf", histogram.count


def _of_tenants(made: Mapping[str, Family], snapshot: Snapshot) -> None:
    for counted, count in sorted(snapshot.tenants.items()):
        labels = [counted.tenant]
        if counted.handler:
            labels = [counted.handler.partition(".")[0], counted.handler, counted.tenant]
        made[f"celeriac_tenant_{counted.what}"].add_metric(labels, count)


def _of_instances(made: Mapping[str, Family], snapshot: Snapshot) -> None:
    for count in snapshot.instances:
        labels = [count.handler.partition(".")[0], count.handler]
        made["celeriac_process_instances"].add_metric([*labels, count.status], count.number)
        if count.status == "open":
            made["celeriac_process_oldest_seconds"].add_metric(labels, count.oldest_s)


def _of_schedules(made: Mapping[str, Family], snapshot: Snapshot) -> None:
    for schedule in snapshot.schedules:
        labels = [schedule.service, schedule.name, schedule.type]
        made["celeriac_schedule_fired"].add_metric(labels, schedule.fired)
        made["celeriac_schedule_missed"].add_metric(labels, schedule.dropped)
        next_s, last_s = schedule.next_ms / 1000, schedule.last_ms / 1000
        made["celeriac_schedule_next_tick_timestamp_seconds"].add_metric(labels, next_s)
        if schedule.last_ms:
            made["celeriac_schedule_last_tick_timestamp_seconds"].add_metric(labels, last_s)


def _of_requests(made: Mapping[str, Family], snapshot: Snapshot, bounds: Bounds) -> None:
    bounds.types.learn(type for type, _ in by_type(snapshot.requests))
    summed: defaultdict[str, RequestStats] = defaultdict(RequestStats)
    for type, stats in snapshot.requests.items():
        summed[bounds.label(type)].add(stats)
    for type, stats in sorted(summed.items()):
        made["celeriac_requests_pending"].add_metric([type], stats.pending)
        for outcome in RequestOutcome:
            made["celeriac_requests"].add_metric([type, outcome.value], stats.count(outcome))
        made["celeriac_late_replies"].add_metric([type], stats.late)
        add_histogram(made["celeriac_request_seconds"], [type], stats.took)


def _of_workers(made: Mapping[str, Family], snapshot: Snapshot) -> None:
    workers = Counter(worker.service for worker in snapshot.workers)
    processes: Counter[str] = Counter()
    for worker in snapshot.workers:
        processes[worker.service] += worker.processes
    # A service without a worker is reported as 0, so that alerts have a series.
    for service in sorted({*workers, *(state.lag.service for state in snapshot.groups)}):
        made["celeriac_workers"].add_metric([service], workers[service])
        made["celeriac_processes"].add_metric([service], processes[service])
    for service, is_idle in sorted(snapshot.scaled_to_zero.items()):
        made["celeriac_scaled_to_zero"].add_metric([service], int(is_idle))
