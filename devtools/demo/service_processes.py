"""The workers of the shop and Flower: forks of the demo, which has already imported Celery.

    demo ──pipe──▶ leader ──┬── billing, which does what `celery -A config worker` does
                            ├── …, each with its pool processes
                            └── flower, which does what `celery -A config flower` does

Six commands would each take a second to import Celery, and the demo should start at once. The
leader and its children are one process group. It ends with SIGKILL, because none of its data is
needed afterwards: at the end of the demo, at the demo's death (the kernel closes the pipe), or when
a worker ends by itself.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import NoReturn

# What a worker imports, except the shop: that reads CELERIAC_SERVICE when it is imported.
BEFORE_FORK = (
    "celery.app.amqp",
    "celery.app.control",
    "celery.app.events",
    "celery.app.log",
    "celery.apps.worker",
    "celery.backends.base",
    "celery.concurrency.prefork",
    "celery.events.dispatcher",
    "celery.fixups.django",
    "celery.schedules",
    "celery.worker.autoscale",
    "celery.worker.components",
    "celery.worker.consumer",
    "celery.worker.consumer.delayed_delivery",
    "celery.worker.strategy",
    "kombu.pidbox",
    "kombu.transport.redis",
    "celeriac.dispatcher",
    "celeriac.worker.request",
)

REMOVED_WITHIN = 20.0  # seconds; on a loaded machine, killed processes end late


@dataclass(frozen=True, slots=True)
class Plan:
    """`workers` is service → processes. Each process writes its log to `directory`."""

    directory: Path
    workers: Mapping[str, int]
    flower_port: int | None


class ServiceProcesses:
    """The process group, as the demo sees it. Call `stop` exactly once."""

    def __init__(self, plan: Plan) -> None:
        """Fork. This process must not have threads."""
        for module in BEFORE_FORK:
            import_module(module)
        death, self._life = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._life)
            _lead(plan, death)
        os.close(death)
        self._ended = False

    def ended(self) -> bool:
        """Return whether the group ended by itself. Its log has the reason."""
        if not self._ended:
            self._ended = os.waitpid(self.pid, os.WNOHANG)[0] != 0
        return self._ended

    def stop(self) -> None:
        """End the group at once."""
        # Close the pipe first: the leader may not have a process group yet.
        os.close(self._life)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        if not self._ended:
            os.waitpid(self.pid, 0)


def _lead(plan: Plan, death: int) -> NoReturn:
    """Be the leader: fork the others, and wait for the first of them to end."""
    try:
        # In its own session, so that Ctrl-C reaches only the demo, which then prints the summary.
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        _log_to(plan.directory / "services.log")
        # Killed processes leave their temporary files, so put these into the demo's directory.
        tempfile.tempdir = os.environ["TMPDIR"] = str(plan.directory)
        members = {
            _fork(plan.directory / f"{service}.log", _work, service, processes): service
            for service, processes in plan.workers.items()
        }
        if plan.flower_port is not None:
            log_path = plan.directory / "flower.log"
            members[_fork(log_path, _show, plan.flower_port)] = "flower"
        while not select.select([death], [], [], 0.1)[0]:
            member, status = os.waitpid(-1, os.WNOHANG)
            if not member:
                continue
            how = os.waitstatus_to_exitcode(status)
            print(f"{members.get(member, member)} ended with {how}", flush=True)
            # The shop works without Flower.
            if members.get(member) != "flower":
                break
        else:
            # The demo is gone: clean up in its place.
            _clean_up(plan.directory)
    finally:
        os.killpg(0, signal.SIGKILL)
        time.sleep(60)
        os._exit(1)


def _clean_up(directory: Path) -> None:
    """Remove the directory in a process outside of the group, because the group still writes."""
    cleaner = os.fork()
    if cleaner:
        # Here too: the group ends at once.
        os.setpgid(cleaner, cleaner)
        return
    try:
        os.setpgid(0, 0)
        remove(directory)
    finally:
        os._exit(0)


def remove(directory: Path) -> None:
    """Remove the directory, even while processes that are being killed still write into it."""
    deadline = time.monotonic() + REMOVED_WITHIN
    while directory.exists() and time.monotonic() < deadline:
        shutil.rmtree(directory, ignore_errors=True)
        time.sleep(0.005)


def _fork(log_path: Path, run: Callable[..., int], *arguments: object) -> int:
    member = os.fork()
    if member:
        return member
    status = 1
    try:
        _log_to(log_path)
        status = run(*arguments)
    except SystemExit as end:
        print(end)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _log_to(path: Path) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(file, stream)
    os.close(file)


def _work(service: str, processes: int) -> int:
    """Do what `celery -A config worker` does, without mingle."""
    os.environ["CELERIAC_SERVICE"] = service
    config = import_module("config")
    worker = config.app.Worker(
        hostname=f"{service}@{os.uname().nodename}",
        loglevel="INFO",
        concurrency=processes,
        without_mingle=True,
        without_gossip=True,
    )
    worker.start()
    return int(worker.exitcode or 0)


def _show(port: int) -> int:
    """Do what `celery -A config flower` does."""
    # Its imports take a second of CPU time, which the workers need first.
    time.sleep(1)
    # Before the import: celeriac then detects that this is Flower, see cli/plugin.py.
    sys.argv = ["celery", "-A", "config", "flower", "--conf=config/flower.py", f"--port={port}"]
    command = import_module("celery.bin.celery")
    return int(command.main() or 0)
