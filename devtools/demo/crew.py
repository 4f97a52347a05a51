"""The workers of the shop and Flower: forks of the demo, which has imported Celery already.

    demo ──pipe──▶ crew ──┬── billing, which does what `celery -A config worker` does
                          ├── …, each with its pool processes
                          └── flower, which does what `celery -A config flower` does

Six commands would each take a second to import Celery, and the demo should be there at once. The
crew is a process group of its own and ends as one: at the end of the demo, at its death (the
kernel closes the pipe), or when one of the workers ends by itself. It ends with SIGKILL, for what
it holds is of no use to anyone by then.
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

# What a worker imports, but for the shop itself: that asks for its service when it is imported.
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


@dataclass(frozen=True, slots=True)
class Plan:
    """`workers` is service → processes. Each process writes its log to `directory`."""

    directory: Path
    workers: Mapping[str, int]
    flower_port: int | None


class Crew:
    """The crew, seen from the demo. Call `stop` exactly once."""

    def __init__(self, plan: Plan) -> None:
        """Forks: this process must not have threads."""
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
        """Whether it has ended by itself; its log says why."""
        if not self._ended:
            self._ended = os.waitpid(self.pid, os.WNOHANG)[0] != 0
        return self._ended

    def stop(self) -> None:
        """Ends all of it at once."""
        # First this: it may not have become a group yet.
        os.close(self._life)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        if not self._ended:
            os.waitpid(self.pid, 0)


def _lead(plan: Plan, death: int) -> NoReturn:
    """The crew's own process. It forks the others and waits for the first to end."""
    try:
        # A session of its own: Ctrl-C is for the demo, which then says what came of it.
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        _log_to(plan.directory / "crew.log")
        # Processes that are killed leave their temporary files behind, so those go with ours.
        tempfile.tempdir = os.environ["TMPDIR"] = str(plan.directory)
        members = {
            _fork(plan.directory / f"{service}.log", _work, service, processes): service
            for service, processes in plan.workers.items()
        }
        if plan.flower_port is not None:
            log = plan.directory / "flower.log"
            members[_fork(log, _show, plan.flower_port)] = "flower"
        while not select.select([death], [], [], 0.1)[0]:
            member, status = os.waitpid(-1, os.WNOHANG)
            if not member:
                continue
            how = os.waitstatus_to_exitcode(status)
            print(f"{members.get(member, member)} ended with {how}", flush=True)
            # Events go on without Flower, which may have lost a race for its port.
            if members.get(member) != "flower":
                break
        else:
            # Nobody else is left to clean up.
            shutil.rmtree(plan.directory, ignore_errors=True)
    finally:
        os.killpg(0, signal.SIGKILL)
        time.sleep(60)
        os._exit(1)


def _fork(log: Path, run: Callable[..., int], *arguments: object) -> int:
    member = os.fork()
    if member:
        return member
    status = 1
    try:
        _log_to(log)
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
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.close(log)


def _work(service: str, processes: int) -> int:
    """`celery -A config worker`, without looking for neighbours first."""
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
    """`celery -A config flower`."""
    # It imports for a second, in which the workers need the processor to be there.
    time.sleep(1)
    # Before the import, at which celeriac looks whether this is Flower: see cli/plugin.py.
    sys.argv = ["celery", "-A", "config", "flower", "--conf=config/flower.py", f"--port={port}"]
    command = import_module("celery.bin.celery")
    return int(command.main() or 0)
