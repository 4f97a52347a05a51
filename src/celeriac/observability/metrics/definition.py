"""Every metric: name, kind, labels and help text.

A series of a counter has the suffix `_total`, one of a histogram `_bucket`, `_sum` or `_count`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Definition:
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    help: str


_BY_TYPE = ("service", "handler", "type")
_BY_GROUP = ("service", "handler", "domain")
_BY_TENANT = ("service", "handler", "tenant")
_BY_SCHEDULE = ("service", "schedule", "type")

METRICS: dict[str, Definition] = {
    "celeriac_up": Definition("gauge", (), "1 where the last scrape reached Redis, else 0"),
    "celeriac_read_seconds": Definition("gauge", (), "Duration of the reading"),
    "celeriac_emitted": Definition(
        "counter", ("domain", "type"), "Events emitted, as reported by emitters"
    ),
    "celeriac_appended": Definition(
        "counter", ("domain",), "Entries ever appended to the log, exact"
    ),
    "celeriac_log_length": Definition("gauge", ("domain",), "Entries in the log"),
    "celeriac_delayed": Definition("gauge", ("domain",), "Delayed events"),
    "celeriac_delivered": Definition("counter", _BY_TYPE, "Deliveries with a first attempt"),
    "celeriac_processed": Definition("counter", _BY_TYPE, "Deliveries processed"),
    "celeriac_failed": Definition("counter", _BY_TYPE, "Attempts that failed"),
    "celeriac_retried": Definition("counter", _BY_TYPE, "Failed attempts that are retried"),
    "celeriac_dead": Definition("counter", _BY_TYPE, "Deliveries that were dead-lettered"),
    "celeriac_skipped": Definition(
        "counter", _BY_TYPE, "Deliveries that when=, tenants= or share= rejected"
    ),
    "celeriac_tenant_emitted": Definition(
        "counter", ("tenant",), "Events emitted for the tenant, as reported by emitters"
    ),
    "celeriac_tenant_processed": Definition(
        "counter", _BY_TENANT, "Deliveries of the tenant's events that were processed"
    ),
    "celeriac_tenant_dead": Definition(
        "counter",
        _BY_TENANT,
        "Deliveries of the tenant's events that failed permanently",
    ),
    "celeriac_wait_seconds": Definition(
        "histogram", _BY_TYPE, "Time from the log to the start of the first attempt"
    ),
    "celeriac_run_seconds": Definition("histogram", _BY_TYPE, "Run time of each attempt"),
    "celeriac_completion_seconds": Definition(
        "histogram", _BY_TYPE, "Time from the log to processed"
    ),
    "celeriac_deliveries": Definition(
        "gauge", (*_BY_GROUP, "state"), "Unfinished deliveries by state"
    ),
    "celeriac_lag_events": Definition("gauge", _BY_GROUP, "Unfinished deliveries"),
    "celeriac_lag_seconds": Definition("gauge", _BY_GROUP, "Age of the oldest unfinished delivery"),
    "celeriac_dead_letters": Definition("gauge", _BY_GROUP, "Dead letters now"),
    "celeriac_chunk_events": Definition("histogram", _BY_GROUP, "Deliveries of one claimed chunk"),
    "celeriac_leases_lost": Definition(
        "counter",
        (*_BY_GROUP, "state"),
        "Deliveries whose lease expired: running ones of a dead or slow process, and "
        "queued ones of a lost or late delivery task",
    ),
    "celeriac_circuit": Definition(
        "gauge", ("service", "handler", "state"), "1 for the state of the handler's circuit"
    ),
    "celeriac_process_instances": Definition(
        "gauge",
        ("service", "handler", "status"),
        "Instances of a process by status, counted up to 100,000",
    ),
    "celeriac_process_oldest_seconds": Definition(
        "gauge", ("service", "handler"), "Age of the oldest open instance of a process"
    ),
    "celeriac_requests_pending": Definition("gauge", ("type",), "Requests that wait for replies"),
    "celeriac_requests": Definition(
        "counter", ("type", "outcome"), "Requests that ended: replied, timed_out or failed"
    ),
    "celeriac_late_replies": Definition(
        "counter", ("type",), "Replies that came after their request had ended"
    ),
    "celeriac_request_seconds": Definition(
        "histogram", ("type",), "Time from a request to its last reply"
    ),
    "celeriac_schedule_fired": Definition("counter", _BY_SCHEDULE, "Ticks that were emitted"),
    "celeriac_schedule_missed": Definition(
        "counter", _BY_SCHEDULE, "Ticks that passed without a worker and were not emitted"
    ),
    "celeriac_schedule_last_tick_timestamp_seconds": Definition(
        "gauge", _BY_SCHEDULE, "Time of the last emitted tick, since 1970"
    ),
    "celeriac_schedule_next_tick_timestamp_seconds": Definition(
        "gauge", _BY_SCHEDULE, "Time of the first tick that is not emitted yet, since 1970"
    ),
    "celeriac_workers": Definition("gauge", ("service",), "Workers with a recent heartbeat"),
    "celeriac_scaled_to_zero": Definition(
        "gauge", ("service",), "1 if the service needs no worker now, by its autoscaler"
    ),
    "celeriac_processes": Definition("gauge", ("service",), "Pool processes of these workers"),
}
