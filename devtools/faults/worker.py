"""One worker process, and the ways in which it can be harmed."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from celeriac.testing.process_guard import GuardedProcess

# `sh` stays the leader of the group, so the guard lets the pool processes of a killed main
# process live for as long as they would by themselves.
KEEP_ORPHANS = '"$@" & echo $! > "$0.part"; mv "$0.part" "$0"; wait $!; sleep 3'


def until_dead(pids: Sequence[int], seconds: float = 10.0) -> None:
    """Waits: a process that was sent SIGKILL may still begin to run a handler before it dies.

    Raises TimeoutError if one of them lives on."""
    deadline = time.monotonic() + seconds
    while living := [pid for pid in pids if _lives(pid)]:
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes {living} live on, {seconds:g} s after SIGKILL")
        time.sleep(0.0005)


def _lives(pid: int) -> bool:
    """Whether there is such a process, and it is not dead and only unburied."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


class Worker:
    """A `celery worker` (or a dispatcher alone), its pool processes and its log."""

    def __init__(self, process: GuardedProcess, log_path: Path, pid_file: Path | None) -> None:
        self.process = process
        self.log_path = log_path
        self._pid_file = pid_file
        self.given_up = False  # ended on purpose: it is not restarted

    @property
    def main(self) -> int:
        """The pid of Celery's main process."""
        return self.process.pid if self._pid_file is None else int(self._pid_file.read_text())

    @property
    def started(self) -> bool:
        return self._pid_file is None or self._pid_file.exists()

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    @property
    def main_lives(self) -> bool:
        """Whether Celery's main process does. `sh` outlives it by some seconds."""
        return _lives(self.main)

    def children(self) -> list[int]:
        """Its pool processes."""
        try:
            return [
                int(pid)
                for pid in Path(f"/proc/{self.main}/task/{self.main}/children").read_text().split()
            ]
        except FileNotFoundError:
            return []

    def pids(self) -> list[int]:
        """Its main process, and the pool processes that it has now."""
        return [self.main, *self.children()]

    def kill_group(self) -> None:
        """SIGKILL to main and pool processes at once; returns when they are dead."""
        self.given_up = True
        pids = self.pids()
        self.process.kill_group()
        self.process.wait(10)
        until_dead(pids)

    def kill_main(self) -> None:
        """SIGKILL to the main process alone; returns when its pool processes are dead as well.

        Each of them asked the kernel for it (Celery sets PR_SET_PDEATHSIG)."""
        self.given_up = True
        pids = self.pids()
        os.kill(self.main, signal.SIGKILL)
        until_dead(pids)

    def kill_child(self) -> list[int]:
        """SIGKILL to one pool process, if there is one at the moment; returns which, dead."""
        killed = self.children()[:1]
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        until_dead(killed)
        return killed

    def stop(self, number: int = signal.SIGTERM, *, seconds: float = 10) -> bool:
        """Sends the signal and waits for the end; kills the group, and is False, if it is late."""
        self.given_up = True
        self.process.send_signal(number)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            # Both answer with the stacks of their threads, in the log.
            self.process.send_signal(signal.SIGUSR1)
            for pid in self.children():
                os.kill(pid, signal.SIGUSR2)
            time.sleep(1)
            self.kill_group()
            return False
        return True

    def freeze(self) -> None:
        os.killpg(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.killpg(self.process.pid, signal.SIGCONT)

    def output(self) -> str:
        return self.log_path.read_text(errors="replace")

    def end(self) -> None:
        """Whatever state it is in."""
        self.given_up = True
        self.process.kill_group()
        self.process.wait(10)
