"""Start Python programs as forks of a process that has imported what they import.

    caller ──socket──▶ fork server ──fork──▶ guard ──fork──▶ program, the leader of its own group

A Celery worker needs 1.4 s of CPU time to start, and 0.35 s as a fork. The suite starts hundreds.
The program runs in a fresh `__main__`, with its own arguments, environment and directory.
The guard is that of `celeriac.testing.process_guard`, so a program ends with the caller.

Not for a program that patches modules before it imports them, such as a worker on gevent.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import IO, Any, cast

from celeriac.testing import process_guard
from celeriac.testing.process_guard import GRACE, GuardedProcess

# What the script `celeriac` does.
CELERIAC = (sys.executable, "-c", "from celeriac.cli import main; main()")
# What a worker imports, whichever its pool and its broker.
PRELOADED = (
    "celery.bin.celery", "celery.apps.worker", "celery.worker.consumer", "celery.events.state",
    "celery.concurrency.prefork", "celery.concurrency.solo", "celery.concurrency.thread",
    "kombu.transport.redis", "kombu.transport.pyamqp", "celery.backends.redis",
    "celeriac", "celeriac.worker.bootstep", "celeriac.cli.group", "sqlalchemy",
)  # fmt: skip
HEADER = 8  # bytes with the length of a request


class ForkedGuard:
    """The guard of a forked program, with the part of `subprocess.Popen` that its user needs."""

    stdout = stderr = None

    def __init__(self, link: socket.socket) -> None:
        self.stdin = self._link = link
        self._received = b""
        self.returncode: int | None = None
        self.pid = int(self._line() or 0)
        if not self.pid:
            link.close()
            raise OSError("the program could not be started: its fork server ended")

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self._link], [], [], 0)[0]:
            self._end()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._link], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("a forked program", timeout or 0)
            self._end()
        assert self.returncode is not None
        return self.returncode

    def _end(self) -> None:
        # A guard that was killed reports no status.
        line = self._line()
        self.returncode = os.waitstatus_to_exitcode(int(line)) if line else -signal.SIGKILL

    def _line(self) -> bytes:
        while b"\n" not in self._received:
            more = self._link.recv(64)
            if not more:
                return b""
            self._received += more
        line, _, self._received = self._received.partition(b"\n")
        return line


class ForkServer:
    """A running fork server. It ends with this process, or when it is closed."""

    def __init__(self, modules: Sequence[str] = PRELOADED) -> None:
        self._control, theirs = socket.socketpair()
        self._lock = threading.Lock()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno()), *modules],
                env={
                    **{name: v for name, v in os.environ.items() if name != "PYTHONPATH"},
                    "PYTHONUNBUFFERED": "1",
                },
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )

    def popen(
        self,
        args: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        stdout: IO[bytes],
        stderr: IO[bytes],
        grace: float = GRACE,
    ) -> GuardedProcess:
        """Start `python -m MODULE …` or `python -c CODE …`. Returns when it runs."""
        request = {"args": args[1:], "env": {**env}, "cwd": str(cwd), "grace": grace}
        body = json.dumps(request).encode()
        ours, theirs = socket.socketpair()
        with theirs, self._lock:
            descriptors = [theirs.fileno(), stdout.fileno(), stderr.fileno()]
            socket.send_fds(self._control, [b"%0*d" % (HEADER, len(body))], descriptors)
            self._control.sendall(body)
        guard = ForkedGuard(ours)
        return GuardedProcess(cast(Any, guard), guard.pid, grace)

    def run(
        self, args: Sequence[str], *, env: Mapping[str, str], cwd: Path, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run such a program to its end. Returns its status and its output, all as stdout."""
        with tempfile.TemporaryFile() as out:
            process = self.popen(args, env=env, cwd=cwd, stdout=out, stderr=out)
            with process:
                status = process.wait(timeout)
            out.seek(0)
            return subprocess.CompletedProcess(args, status, out.read().decode())

    def close(self) -> None:
        self._control.close()
        self._process.wait()


@cache
def fork_server() -> ForkServer:
    """Return the fork server of this process. The first call starts it."""
    server = ForkServer()
    atexit.register(server.close)
    return server


def main(control: socket.socket, modules: Sequence[str]) -> None:
    """Serve until the caller closes the socket. In a forked process: run its program."""
    for module in modules:
        importlib.import_module(module)
    if threading.active_count() > 1:
        raise RuntimeError(f"a module started a thread, which no fork has: {threading.enumerate()}")
    # The forks share these pages as long as no collection writes to them.
    gc.collect()
    gc.freeze()
    args = _serve(control)
    if args is not None:
        _run(args)


def _serve(control: socket.socket) -> list[str] | None:
    """Return the arguments of a program in the process forked for it, None at the end."""
    # The kernel collects the guards.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        header, descriptors, _, _ = socket.recv_fds(control, HEADER, 3)
        if not header:
            return None
        body = bytearray()
        while len(body) < int(header):
            body += control.recv(int(header) - len(body))
        if os.fork() == 0:
            control.detach()
            return _guard(json.loads(body), descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _guard(request: dict[str, Any], descriptors: Sequence[int]) -> list[str]:
    """Guard the program that is forked here. Returns in the program's process only."""
    os.setsid()
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
    os.closerange(3, 1024)
    parent = os.getppid()
    wakeups = process_guard.catch_signals()
    child = os.fork()
    if child == 0:
        _become(request)
        args: list[str] = request["args"]
        return args
    # Both do it, since either may be first.
    with contextlib.suppress(PermissionError, ProcessLookupError):
        os.setpgid(child, child)
    os.write(0, b"%d\n" % child)
    status = process_guard.watch(child, parent, wakeups, request["grace"])
    with contextlib.suppress(OSError):
        os.write(0, b"%d\n" % status)
    os._exit(0)


def _become(request: dict[str, Any]) -> None:
    """Leave nothing of the fork server and of the guard but the modules."""
    os.setpgid(0, 0)
    signal.set_wakeup_fd(-1)
    for number in (*process_guard.FORWARDED, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.closerange(3, 1024)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    time.tzset()
    sys.dont_write_bytecode = bool(request["env"].get("PYTHONDONTWRITEBYTECODE"))
    paths = request["env"].get("PYTHONPATH", "").split(os.pathsep)
    # The first is the directory of this file.
    sys.path[:1] = [request["cwd"], *filter(None, paths)]


def _run(args: list[str]) -> None:
    option, program, *rest = args
    if option == "-m":
        sys.argv = [program, *rest]
        runpy.run_module(program, run_name="__main__", alter_sys=True)
        return
    if option != "-c":
        raise ValueError(f"a forked program is given by -m or -c, not by {option!r}")
    sys.argv = ["-c", *rest]
    sys.modules["__main__"] = ModuleType("__main__")
    exec(compile(program, "<string>", "exec"), sys.modules["__main__"].__dict__)


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:])
