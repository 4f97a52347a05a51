"""Run a process that cannot outlive its parent, even after `kill -9` of the parent.

    parent ──pipe──▶ guard ──▶ child, the leader of its own process group
                                 └── whatever it forks

No signal reports to a process that its parent was killed, but the kernel closes the parent's pipes.
A guard process between the two therefore holds the reading end of a pipe as its stdin:

* At the end of file, or with another parent than at the start, it sends SIGTERM to the child. Only
  to the child: the pool processes of a Celery worker end at a SIGTERM that their main process
  survives for its warm shutdown. After the grace it sends SIGKILL to the whole group.
* When the child is gone, it sends SIGKILL to the rest of the child's group, such as the pool
  processes of a killed worker. Then it ends as the child did, with the same status or by the same
  signal.
* It passes on SIGTERM, SIGINT, SIGQUIT and SIGHUP to the child.

Run it as `python -I -S process_guard.py [--grace SECONDS] [--pid-fd FD] [--parent PID] COMMAND...`.
This file imports only the standard library, and writes the child's pid to FD. From Python, call
`guarded_popen`. A guard that is itself killed with SIGKILL guards nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import signal
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import IO

FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)
GRACE = 5.0


class GuardedProcess:
    """A running command and its guard. `pid` is the command's own, and leads its process group."""

    def __init__(self, guard: subprocess.Popen[bytes], pid: int, grace: float) -> None:
        self.pid = pid
        self._guard = guard
        self._grace = grace

    @property
    def returncode(self) -> int | None:
        """As of `subprocess.Popen`: negative for a signal, None until it was waited for."""
        return self._guard.returncode

    @property
    def stdout(self) -> IO[bytes] | None:
        """The reading end, if `stdout=subprocess.PIPE` was asked for."""
        return self._guard.stdout

    @property
    def stderr(self) -> IO[bytes] | None:
        """The reading end, if `stderr=subprocess.PIPE` was asked for."""
        return self._guard.stderr

    def poll(self) -> int | None:
        """The return code, or None while the command runs."""
        if self._guard.poll() is not None:
            self._release()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Block until the command and its group are gone. Raises `subprocess.TimeoutExpired`."""
        status = self._guard.wait(timeout)
        self._release()
        return status

    def send_signal(self, number: int) -> None:
        """Send a signal to the command itself; nothing happens when it is gone."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM to the command itself, which may take its time."""
        self.send_signal(signal.SIGTERM)

    def kill_group(self) -> None:
        """SIGKILL to the command and all that it forked, at once."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM, and after the grace SIGKILL to the group. Returns the return code."""
        import subprocess

        self.terminate()
        try:
            return self.wait(self._grace)
        except subprocess.TimeoutExpired:
            self.kill_group()
            return self.wait()

    def __enter__(self) -> GuardedProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        for stream in (self.stdout, self.stderr):
            if stream is not None:
                stream.close()

    def _release(self) -> None:
        if self._guard.stdin is not None:
            self._guard.stdin.close()


def guarded_popen(
    args: Sequence[str | os.PathLike[str]],
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | Path | None = None,
    stdout: int | IO[bytes] | None = None,
    stderr: int | IO[bytes] | None = None,
    grace: float = GRACE,
) -> GuardedProcess:
    """Start a command that ends with this process. Its stdin is empty.

    Returns when the command runs; `OSError` when it cannot be started. It has its own session, so
    a Ctrl-C of the terminal reaches only the caller, who then decides how to end it.

    A fork of the caller that does not exec (multiprocessing) keeps the pipe open; then the guard
    notices the death of its parent within a second instead of at once.
    """
    import subprocess

    report, pid_fd = os.pipe()
    # It may have died before the guard asks for it.
    options = ["--grace", str(grace), "--pid-fd", str(pid_fd), "--parent", str(os.getpid())]
    try:
        guard = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, *options, *[os.fspath(arg) for arg in args]],
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=stderr,
            env=env,
            cwd=cwd,
            pass_fds=(pid_fd,),
            start_new_session=True,
        )
    except BaseException:
        os.close(report)
        raise
    finally:
        os.close(pid_fd)
    with open(report, "rb") as reader:
        pid = reader.readline()
    if not pid:
        with guard:
            status = guard.wait()
        raise OSError(f"{os.fspath(args[0])} could not be started (its guard ended with {status})")
    return GuardedProcess(guard, int(pid), grace)


def main(argv: list[str]) -> int:
    """Guard a command to its end. Returns its exit status; ends by its signal if it had one."""
    parser = argparse.ArgumentParser(prog="guard.py")
    parser.add_argument("--grace", type=float, default=GRACE)
    parser.add_argument("--pid-fd", type=int)
    parser.add_argument("--parent", type=int, default=os.getppid())
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args(argv)
    wakeups = catch_signals()
    if options.pid_fd is not None:
        os.set_inheritable(options.pid_fd, False)
    try:
        child = _spawn(options.command)
    except OSError as error:
        print(f"guard: {options.command[0]}: {error.strerror}", file=sys.stderr)
        return 127
    if options.pid_fd is not None:
        os.write(options.pid_fd, b"%d\n" % child)
        os.close(options.pid_fd)
    return _end_as(watch(child, options.parent, wakeups, options.grace))


def catch_signals() -> int:
    """Turn signals into bytes of a pipe, so that none is lost between two looks at it."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    for number in (*FORWARDED, signal.SIGCHLD):
        signal.signal(number, lambda number, frame: None)
    return reader


def _spawn(command: list[str]) -> int:
    """Start the child as the leader of a new process group, with an empty stdin."""
    return os.posix_spawnp(
        command[0],
        command,
        os.environ,
        file_actions=[(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)],
        setpgroup=0,
        # Python ignores these, and a child would inherit that
        setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
    )


def watch(child: int, parent: int, wakeups: int, grace: float) -> int:
    """Wait for the child or the end of the parent, whichever is first. Returns the wait status."""
    watched = [0, wakeups]
    deadline: float | None = None
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            _signal_group(child, signal.SIGKILL)
            return status
        pause = 1.0 if deadline is None else max(0.0, min(1.0, deadline - time.monotonic()))
        ready, _, _ = select.select(watched, [], [], pause)
        if wakeups in ready:
            for number in os.read(wakeups, 64):
                if number != signal.SIGCHLD:
                    os.kill(child, number)
        if deadline is None:
            if (0 in ready and not _read_stdin()) or os.getppid() != parent:
                watched = [wakeups]
                deadline = time.monotonic() + grace
                os.kill(child, signal.SIGTERM)
        elif time.monotonic() >= deadline:
            _signal_group(child, signal.SIGKILL)


def _read_stdin() -> bytes:
    """Nothing means that the parent closed its end, or that the kernel did."""
    try:
        return os.read(0, 4096)
    except OSError:  # a terminal that hung up
        return b""


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _end_as(status: int) -> int:
    """The exit status of a child that exited; the same death for one that a signal ended."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return code
    if -code != signal.SIGKILL:
        signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
    return 128 - code  # a signal that does not end a process by default


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
