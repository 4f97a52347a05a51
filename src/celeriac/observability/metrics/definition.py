"""Every metric: its name, its kind, its labels, and what it says.

A series of a counter has `_total` behind the name, one of a histogram `_bucket`, `_sum`, `_count`.
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
_BY_LANE = ("service", "handler", "domain")

METRICS: dict[str, Definition] = {
    "celeriac_up": Definition("gauge", (), "1 where the last scrape reached Redis, else 0"),
    "celeriac_read_seconds": Definition("gauge", (), "How long reading all of this took"),
    "celeriac_emitted": Definition(
        "counter", ("domain", "type"), "Events emitted, as emitters told"
    ),
    "celeriac_appended": Definition(
        "counter", ("domain",), "Entries that the log of the domain ever had, exactly"
    ),
    "celeriac_log_length": Definition("gauge", ("domain",), "Entries that lie in the log"),
    "celeriac_postponed": Definition("gauge", ("domain",), "Events that wait to enter the log"),
    "celeriac_delivered": Definition("counter", _BY_TYPE, "Deliveries whose first attempt ended"),
    "celeriac_processed": Definition("counter", _BY_TYPE, "Deliveries processed"),
    "celeriac_failed": Definition("counter", _BY_TYPE, "Attempts that failed"),
    "celeriac_retried": Definition("counter", _BY_TYPE, "Failed attempts that are tried again"),
    "celeriac_dead": Definition("counter", _BY_TYPE, "Deliveries given up"),
    "celeriac_skipped": Definition("counter", _BY_TYPE, "Deliveries that when= did not want"),
    "celeriac_wait_seconds": Definition(
        "histogram", _BY_TYPE, "From the entry into the log until the first attempt began"
    ),
    "celeriac_run_seconds": Definition("histogram", _BY_TYPE, "Run time of each attempt"),
    "celeriac_completion_seconds": Definition(
        "histogram", _BY_TYPE, "From the entry into the log until it was processed"
    ),
    "celeriac_deliveries": Definition(
        "gauge", (*_BY_LANE, "place"), "Unfinished deliveries by where they are"
    ),
    "celeriac_lag_events": Definition("gauge", _BY_LANE, "Unfinished deliveries"),
    "celeriac_lag_seconds": Definition("gauge", _BY_LANE, "Age of the oldest unfinished one"),
    "celeriac_dead_letters": Definition("gauge", _BY_LANE, "What lies in dead letters now"),
    "celeriac_chunk_events": Definition("histogram", _BY_LANE, "Deliveries of one claimed chunk"),
    "celeriac_leases_lost": Definition(
        "counter",
        (*_BY_LANE, "place"),
        "Deliveries whose lease was over: running ones, whose process was gone or too slow, and "
        "queued ones, whose hint was lost or late",
    ),
    "celeriac_circuit": Definition(
        "gauge", ("service", "handler", "state"), "1 for the state of the handler's circuit"
    ),
    "celeriac_workers": Definition("gauge", ("service",), "Workers that beat lately"),
    "celeriac_processes": Definition("gauge", ("service",), "Pool processes of these workers"),
}
