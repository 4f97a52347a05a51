from __future__ import annotations

import logging
from pathlib import Path

from celeriac.observability.logging import KeyValueFormatter
from devtools.demo.failures import Failure, FailureLog, parse_failure


def logged(error: str, then: str = "retry in 500 ms") -> str:
    """A line as a worker of the shop writes it."""
    record = logging.LogRecord(
        "celeriac.executor.executor",
        logging.WARNING,
        "executor.py",
        1,
        "%s failed on %s %s in attempt %d (%s): %s",
        ("billing.charge_card", "order.placed", "0197-a", 2, then, error),
        None,
    )
    return KeyValueFormatter("billing").format(record)


def test_a_failure_is_read_from_the_log_that_the_shop_writes() -> None:
    failure = parse_failure(logged("GatewayDown: timed out"))
    assert failure is not None
    assert failure == Failure(
        failure.at, "billing.charge_card", 2, "retry in 500 ms", "GatewayDown: timed out"
    )


def test_quotes_in_the_message_survive() -> None:
    failure = parse_failure(logged('ValueError: "x" (odd) event="y"', "dead"))
    assert failure is not None
    assert (failure.error, failure.then) == ('ValueError: "x" (odd) event="y"', "dead")


def test_other_lines_are_none() -> None:
    assert (
        parse_failure('time=07:00:00 level=info service=billing message="billing@vm ready."')
        is None
    )


def test_only_what_is_new_is_read_and_only_whole_lines(tmp_path: Path) -> None:
    event_log, failures = tmp_path / "billing.log", FailureLog(tmp_path, keep=2)
    assert failures.latest() == ()
    first, second = logged("A: 1"), logged("B: 2")
    event_log.write_text(f"{first}\n{second[:40]}")
    assert [failure.error for failure in failures.latest()] == ["A: 1"]
    with event_log.open("a") as more:
        more.write(f"{second[40:]}\n{logged('C: 3')}\n")
    assert [failure.error for failure in failures.latest()] == ["B: 2", "C: 3"]
