"""The workers of a contestant. They idle while others have their turn."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from benchmarks.bench import ROOT, Bench
from benchmarks.commands import command, watching
from benchmarks.measurement import Contestant
from benchmarks.remote import Remote
from benchmarks.tally import Tally
from celeriac.testing.process_guard import GuardedProcess, guarded_popen

LONGEST_START = 60.0
LATEST = 10.0


class CrewError(RuntimeError):
    """A worker did not do what was asked of it. The message holds the end of its log."""


class Crew:
    """`contestant.workers` workers for each of its services. Leaving the `with` kills them."""

    def __init__(self, bench: Bench, contestant: Contestant, url: str, tally: Tally) -> None:
        self.contestant, self.tally = contestant, tally
        self.processes: list[GuardedProcess] = []
        self.logs: list[Path] = []
        environment = {**bench.environment(url, tally), **contestant.options}
        if "BENCH_WATCHED" in contestant.options:
            self._start(bench, watching(contestant), environment, "watcher")
        for service in contestant.services:
            for number in range(contestant.workers):
                started = command(contestant, f"{service}{number}")
                self._start(bench, started, {**environment, "BENCH_SERVICE": service}, service)

    def _start(
        self, bench: Bench, argv: Sequence[str], environment: Mapping[str, str], name: str
    ) -> None:
        self.logs.append(bench.path(f"{self.contestant.peer}-{name}.log"))
        with self.logs[-1].open("wb") as out:
            process = guarded_popen(
                argv, env=environment, cwd=ROOT, stdout=out, stderr=out, grace=2
            )
        self.processes.append(process)

    def wake(self, remote: Remote) -> None:
        """Waits until one event causes a run of every handler. Raises CrewError."""
        deadline = time.monotonic() + LONGEST_START
        first, called = self.tally.size, 0
        while time.monotonic() < deadline:
            before = self.tally.size
            remote.call("one", 1)
            called += 1
            if self.tally.wait(before + self.contestant.fanout, 0.7):
                # Those that were sent in vain come late, and belong to no sample.
                self.tally.wait(first + called * self.contestant.fanout, LATEST)
                self.run_until_idle()
                return
            self.check()
        raise self.failure(f"did not handle an event within {LONGEST_START:g} s")

    def run_until_idle(self) -> None:
        """Until nothing has been handled for a while."""
        size, since = self.tally.size, time.monotonic()
        while time.monotonic() < since + 0.2:
            time.sleep(0.02)
            if self.tally.size != size:
                size, since = self.tally.size, time.monotonic()

    def check(self) -> None:
        if any(process.poll() is not None for process in self.processes):
            raise self.failure("ended by itself")

    def failure(self, what: str) -> CrewError:
        said = "".join(log.read_text(errors="replace")[-600:] for log in self.logs)
        return CrewError(f"{said}\n{self.contestant.name} {what}")

    def pause(self) -> None:
        """SIGSTOP: they stand still, and find what was written meanwhile when they resume."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)

    @property
    def pids(self) -> list[int]:
        """Of all processes of all workers."""
        return [pid for process in self.processes for pid in group(process.pid)]

    def __enter__(self) -> Crew:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for process in self.processes:
            process.kill_group()
        for process in self.processes:
            process.wait(10)


def group(leader: int) -> list[int]:
    """The processes of a process group."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(ValueError, OSError):
            # The name, in parentheses, may hold blanks.
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[2]) == leader:
                found.append(int(entry.name))
    return found


def proportional_memory(pids: list[int]) -> float:
    """MiB, shared pages divided among those that share them."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):  # it may end while it is looked at
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total / 1024


def cpu_seconds(pids: Sequence[int]) -> float:
    """What all threads of the processes have used so far; finer than the ticks of `stat`."""
    total = 0
    for pid in pids:
        # A process or thread may end while it is looked at.
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9
