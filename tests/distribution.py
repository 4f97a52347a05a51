"""A pytest plugin: which tests run, and with which others when there are several processes.

pytest-xdist (`-n`) runs each test in the process that is free. Each process has its own servers and
namespaces, so that tests share only the machine. The longest start first. Tests marked `waiting`
need little of a processor, and have time limits for what they do: they start after all others, and
a few run at once. A test marked `quiet` measures time: it starts last, and runs alone.
"""

from __future__ import annotations

import fcntl
import gc
import os
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import pytest

TURNS_PLUGIN = "celeriac-turns"
TURNS = pytest.StashKey[str]()
# A test is long if its own `timeout` is above this number of seconds.
LONG = 120
# From the longest tests to the shortest. Those of other folders are shorter still.
FOLDERS = ("e2e", "browser", "contract")
# Tests of such a file share a fixture, which takes long to start or remembers what they did.
SHARING = (
    "tests/browser/",
    "tests/e2e/test_settings.py",
    "tests/unit/archive/test_s3.py",
    "tests/unit/cli/test_acl.py",
    "tests/unit/cli/test_acl_gateway.py",
    "tests/unit/devtools/test_fork_server.py",
    "tests/unit/store/redis/test_wakeup.py",
    "tests/unit/store/test_used_up_ids.py",
    "tests/unit/test_tls.py",
)
FAULTS_ON_RABBITMQ = "tests/e2e/test_faults.py::test_so_it_is_with_the_queues_in_rabbitmq["
# Tests marked `waiting` that run at once: each needs a third of a processor.
WAITING_AT_ONCE = max(2, 3 * (os.cpu_count() or 1) // 2)
# What `--quick` leaves out: tests that start processes, wait, or compute for seconds, and the same
# ones on other servers.
SLOW = (
    "docs/how-to/durable-workflows.md",
    "tests/browser/",
    "tests/contract/test_delivery_life.py",
    "tests/contract/test_moved_address.py",
    "tests/contract/test_sentinel.py",
    "tests/contract/test_slow_link.py",
    "tests/e2e/",
    "tests/fuzz/",
    "tests/unit/archive/test_memory.py",
    "tests/unit/archive/test_s3.py",
    "tests/unit/cli/test_garbage.py",
    "tests/unit/cli/test_tail.py",
    "tests/unit/cli/test_top.py",
    "tests/unit/devtools/test_fork_server.py",
    "tests/unit/devtools/test_mutants_trial.py",
    "tests/unit/executor/test_greenlets.py",
    "tests/unit/executor/test_interrupted_lines.py",
    "tests/unit/gateway/test_hostile.py",
    "tests/unit/gateway/test_redis.py",
    "tests/unit/outbox/test_relay_life.py",
    "tests/unit/outbox/test_timer_killed.py",
    "tests/unit/process/test_interleavings.py",
    "tests/unit/pull/test_waiting.py",
    "tests/unit/scaffold/test_template.py",
    "tests/unit/shop/test_fulfilment.py",
    "tests/unit/store/redis/test_interrupted.py",
    "tests/unit/store/redis/test_script_keys.py",
    "tests/unit/store/redis/cluster/",
    "tests/unit/testing/test_process_guard.py",
    "tests/unit/testing/test_server.py",
    "tests/unit/dispatcher/test_reading_lives.py",
    "tests/unit/contrib/dbos/",
    "tests/unit/contrib/django/",
    "tests/unit/spool/test_event_log.py",
    "tests/unit/test_bootstrap.py",
    "tests/unit/test_deployment.py",
    "tests/unit/test_distribution.py",
    "tests/unit/test_extra.py",
    "tests/unit/test_shadow.py",
    "tests/unit/observability/tracing/test_off.py",
    "tests/unit/worker/celery_fixes/test_prefork_results.py",
    "tests/unit/worker/test_failure_events.py",
)
SERVERS = {"cluster", "mysql", "postgresql", "redis_cluster"}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("celeriac")
    group.addoption(
        "--quick",
        action="store_true",
        help="one minute: without workers and databases",
    )
    group.addoption(
        "--full", action="store_true", help="as often as it takes to trust it: for every night"
    )


def pytest_configure(config: pytest.Config) -> None:
    # Collecting ten thousand tests makes millions of objects that stay: no cycle is among them.
    gc.disable()
    if directory := getattr(config, "workerinput", {}).get("turns"):
        config.pluginmanager.register(Turns(Path(directory)), TURNS_PLUGIN)


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
    """Not `--dist loadgroup`: pytest-xdist 3.8 has no groups with pytest 9.2."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduler(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return unit_of(nodeid)

    config.option.loadscopereorder = False
    return Scheduler(config, log)


def unit_of(nodeid: str) -> str:
    """Return the name of the tests that run in one process, one after the other."""
    path = nodeid.partition("::")[0]
    # A node of RabbitMQ takes 6 s of CPU time to start, in each process that has such a test.
    if path.startswith("tests/e2e/") and "[rabbitmq" in nodeid:
        return "rabbitmq"
    if nodeid.startswith(FAULTS_ON_RABBITMQ):
        return f"faults on rabbitmq {zlib.crc32(nodeid.encode()) % 2}"
    # The blocks of a page share their names.
    return path if path.endswith(".md") or path.startswith(SHARING) else nodeid


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import no file whose tests would be left out."""
    if not config.getoption("quick") or not collection_path.is_relative_to(config.rootpath):
        return None
    path = collection_path.relative_to(config.rootpath).as_posix()
    return True if f"{path}/".startswith(SLOW) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("quick"):
        config.hook.pytest_deselected(items=[item for item in items if is_slow(item)])
        items[:] = [item for item in items if not is_slow(item)]
    if hasattr(config, "workerinput"):
        items.sort(key=rank)


def pytest_collection_finish() -> None:
    """Called when all tests are known. What is there stays, and is not looked through again."""
    gc.freeze()
    gc.enable()


def is_slow(item: pytest.Item) -> bool:
    call: Any = getattr(item, "callspec", None)
    servers = {value for value in call.params.values() if isinstance(value, str)} if call else set()
    return item.nodeid.startswith(SLOW) or bool(servers & SERVERS)


def rank(item: pytest.Item) -> tuple[bool, bool, int, float]:
    """Return what tests are sorted by: quiet ones last and waiting ones before them, otherwise slow
    folders and tests first."""
    folder = next((n for n, name in enumerate(FOLDERS) if name in item.path.parts), len(FOLDERS))
    timeout = item.get_closest_marker("timeout")
    seconds = float(timeout.args[0]) if timeout else 0.0
    return is_quiet(item), is_waiting(item), folder, -seconds if seconds > LONG else 0.0


def is_quiet(item: pytest.Item) -> bool:
    return item.get_closest_marker("quiet") is not None


def is_waiting(item: pytest.Item) -> bool:
    return item.get_closest_marker("waiting") is not None


@pytest.fixture
def alone(request: pytest.FixtureRequest) -> Callable[[], None]:
    """A function that waits until no other test runs. None starts before this one ends."""
    turns: Turns | None = request.config.pluginmanager.get_plugin(TURNS_PLUGIN)
    return turns.take_alone if turns else lambda: None


class Turns:
    """Keeps other processes from running a test while a quiet one runs, and bounds waiting ones."""

    def __init__(self, directory: Path) -> None:
        self._running = (directory / "running").open("w")
        self._next = (directory / "next").open("w")
        self._slots = [(directory / f"slot{n}").open("w") for n in range(WAITING_AT_ONCE)]

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Wait for the turn, which is no part of the test's own time."""
        slot = self._take_slot() if is_waiting(item) else None
        self.take(alone=is_quiet(item))
        try:
            return (yield)
        finally:
            self.end()
            if slot:
                fcntl.flock(slot, fcntl.LOCK_UN)

    def take_alone(self) -> None:
        """Block until no other test runs. Two tests that do it are not each other's obstacle."""
        self.end()
        self.take(alone=True)

    def take(self, *, alone: bool) -> None:
        # A test that waits for those that run holds up those that would start.
        fcntl.flock(self._next, fcntl.LOCK_EX)
        fcntl.flock(self._running, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(self._next, fcntl.LOCK_UN)

    def _take_slot(self) -> IO[str]:
        while True:
            for slot in self._slots:
                with suppress(BlockingIOError):
                    fcntl.flock(slot, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return slot
            time.sleep(0.05)

    def end(self) -> None:
        fcntl.flock(self._running, fcntl.LOCK_UN)

    def pytest_unconfigure(self) -> None:
        for file in (self._running, self._next, *self._slots):
            file.close()
