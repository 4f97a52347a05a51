"""A pytest plugin: which tests run, and beside which others when there are several processes.

pytest-xdist (`-n`) runs each test in the process that is free. Each process has its own servers and
namespaces, so that tests share only the machine. The longest start first. A test marked `quiet`
measures time: it starts last, and when no other test runs.
"""

from __future__ import annotations

import fcntl
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

TURNS = pytest.StashKey[str]()
# A test is long if its own `timeout` is above this number of seconds.
LONG = 120
# From the longest tests to the shortest. Those of other folders are shorter still.
FOLDERS = ("e2e", "browser", "contract")
# Tests of such a file share a fixture, which takes long to start or remembers what they did.
SHARING = (
    "tests/browser/",
    "tests/e2e/test_settings.py",
    "tests/unit/cli/test_acl.py",
    "tests/unit/store/redis/test_wakeup.py",
    "tests/unit/store/test_used_up_ids.py",
    "tests/unit/test_tls.py",
)
# What `--quick` leaves out: tests that start processes or wait, and the same ones on other servers.
SLOW = (
    "tests/browser/",
    "tests/contract/test_moved_address.py",
    "tests/contract/test_sentinel.py",
    "tests/contract/test_slow_link.py",
    "tests/e2e/",
    "tests/unit/cli/test_tail.py",
    "tests/unit/cli/test_top.py",
    "tests/unit/store/redis/cluster/",
    "tests/unit/testing/test_process_guard.py",
    "tests/unit/testing/test_server.py",
    "tests/unit/dispatcher/test_reading_lives.py",
    "tests/unit/contrib/django/",
    "tests/unit/spool/test_event_log.py",
    "tests/unit/test_deployment.py",
    "tests/unit/test_extra.py",
    "tests/unit/observability/tracing/test_off.py",
    "tests/unit/worker/test_failure_events.py",
)
SERVERS = {"cluster", "mysql", "postgresql"}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("celeriac")
    group.addoption(
        "--quick",
        action="store_true",
        help="at most a minute: without what starts processes, databases or a cluster",
    )
    group.addoption(
        "--full", action="store_true", help="as often as it takes to trust it: for every night"
    )


def pytest_configure(config: pytest.Config) -> None:
    if directory := getattr(config, "workerinput", {}).get("turns"):
        config.pluginmanager.register(Turns(Path(directory)))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Called by pytest-xdist before it starts a process."""
    if TURNS not in node.config.stash:
        directory = tempfile.TemporaryDirectory(prefix="celeriac-turns-")
        node.config.stash[TURNS] = directory.name
        node.config.add_cleanup(directory.cleanup)
    node.workerinput["turns"] = node.config.stash[TURNS]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Not `--dist loadgroup`: pytest-xdist 3.8 knows no groups with pytest 9.2."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduler(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return unit_of(nodeid)

    config.option.loadscopereorder = False
    return Scheduler(config, log)


def unit_of(nodeid: str) -> str:
    """Return the name of the tests that run in one process, one after the other."""
    path = nodeid.partition("::")[0]
    # The blocks of a page share their names.
    return path if path.endswith(".md") or path.startswith(SHARING) else nodeid


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("quick"):
        config.hook.pytest_deselected(items=[item for item in items if is_slow(item)])
        items[:] = [item for item in items if not is_slow(item)]
    if hasattr(config, "workerinput"):
        items.sort(key=rank)


def is_slow(item: pytest.Item) -> bool:
    call: Any = getattr(item, "callspec", None)
    servers = {value for value in call.params.values() if isinstance(value, str)} if call else set()
    return item.nodeid.startswith(SLOW) or bool(servers & SERVERS)


def rank(item: pytest.Item) -> tuple[bool, int, float]:
    """Return what tests are sorted by: quiet ones last, otherwise slow folders and tests first."""
    folder = next((n for n, name in enumerate(FOLDERS) if name in item.path.parts), len(FOLDERS))
    timeout = item.get_closest_marker("timeout")
    seconds = float(timeout.args[0]) if timeout else 0.0
    return is_quiet(item), folder, -seconds if seconds > LONG else 0.0


def is_quiet(item: pytest.Item) -> bool:
    return item.get_closest_marker("quiet") is not None


class Turns:
    """Keeps other processes from running a test while a quiet one runs."""

    def __init__(self, directory: Path) -> None:
        self._running = (directory / "running").open("w")
        self._next = (directory / "next").open("w")

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Wait for the turn, which is no part of the test's own time."""
        # A quiet test that waits for those that run holds up those that would start.
        fcntl.flock(self._next, fcntl.LOCK_EX)
        fcntl.flock(self._running, fcntl.LOCK_EX if is_quiet(item) else fcntl.LOCK_SH)
        fcntl.flock(self._next, fcntl.LOCK_UN)
        try:
            return (yield)
        finally:
            fcntl.flock(self._running, fcntl.LOCK_UN)

    def pytest_unconfigure(self) -> None:
        self._running.close()
        self._next.close()
