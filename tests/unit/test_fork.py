"""Actions in a forked child process."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable

import pytest

from celeriac import fork


def in_child(check: Callable[[], bool]) -> bool:
    """Return the result of `check` in a forked process; print its traceback if it raises."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if check() else 1
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.fixture
def actions(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], None]]:
    found: list[Callable[[], None]] = []
    monkeypatch.setattr(fork, "_actions", found)
    return found


def test_an_action_runs_once_in_each_child_and_not_in_the_parent(
    actions: list[Callable[[], None]],
) -> None:
    ran: list[int] = []
    fork.after_fork_in_child(lambda: ran.append(os.getpid()))
    assert in_child(lambda: ran == [os.getpid()])

    def is_once_though_called_again() -> bool:
        fork._in_child()  # as uWSGI may
        return len(ran) == 1

    assert in_child(is_once_though_called_again)
    assert [] == ran


def test_an_action_that_raises_is_logged_and_does_not_stop_the_next(
    actions: list[Callable[[], None]],
) -> None:
    ran: list[str] = []
    records: list[logging.LogRecord] = []

    def keep(record: logging.LogRecord) -> bool:
        records.append(record)
        return False

    fork.logger.addFilter(keep)

    def fail() -> None:
        raise ValueError("broken")

    fork.after_fork_in_child(fail)
    fork.after_fork_in_child(lambda: ran.append("next"))
    try:
        assert in_child(lambda: ran == ["next"] and len(records) == 1)
    finally:
        fork.logger.removeFilter(keep)


def test_what_is_left_to_the_parent_is_not_closed_when_the_last_reference_goes() -> None:
    closed: list[bool] = []

    class Connection:
        def __del__(self) -> None:
            closed.append(True)

    connection = Connection()
    fork.leave_to_parent(connection)
    del connection
    assert [] == closed
