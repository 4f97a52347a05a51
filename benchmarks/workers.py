"""The workers of a candidate. They are idle while other candidates are sampled."""

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
from benchmarks.measurement import Candidate
from benchmarks.remote import Remote
from benchmarks.run_counter import RunCounter
from celeriac.testing.process_guard import GuardedProcess, guarded_popen

LONGEST_START = 60.0
LATEST = 10.0


class WorkersFailed(RuntimeError):
    """A worker failed. The message has the end of its log."""


class Workers:
    """`candidate.workers` workers for each service. Leaving the `with` block kills them."""

    def __init__(
        self, bench: Bench, candidate: Candidate, url: str, run_counter: RunCounter
    ) -> None:
        self.candidate, self.run_counter = candidate, run_counter
        self.processes: list[GuardedProcess] = []
        self.logs: list[Path] = []
        environment = {**bench.environment(url, run_counter), **candidate.options}
        if "BENCH_WATCHED" in candidate.options:
            self._start(bench, watching(candidate), environment, "watcher")
        for service in candidate.services:
            for number in range(candidate.workers):
                started = command(candidate, f"{service}{number}")
                self._start(bench, started, {**environment, "BENCH_SERVICE": service}, service)

    def _start(
        self, bench: Bench, argv: Sequence[str], environment: Mapping[str, str], name: str
    ) -> None:
        self.logs.append(bench.path(f"{self.candidate.peer}-{name}.log"))
        with self.logs[-1].open("wb") as out:
            process = guarded_popen(
                argv, env=environment, cwd=ROOT, stdout=out, stderr=out, grace=2
            )
        self.processes.append(process)

    def wake(self, remote: Remote) -> None:
        """Block until an event causes a run of every handler. Raises WorkersFailed."""
        deadline = time.monotonic() + LONGEST_START
        first, called = self.run_counter.size, 0
        while time.monotonic() < deadline:
            before = self.run_counter.size
            remote.call("single", 1)
            called += 1
            if self.run_counter.wait(before + self.candidate.fanout, 0.7):
                # Events that were sent before the workers were ready belong to no sample.
                self.run_counter.wait(first + called * self.candidate.fanout, LATEST)
                self.run_until_idle()
                return
            self.check()
        raise self.failure(f"did not handle an event within {LONGEST_START:g} s")

    def run_until_idle(self) -> None:
        """Block until no event has been handled for 0.2 s."""
        size, since = self.run_counter.size, time.monotonic()
        while time.monotonic() < since + 0.2:
            time.sleep(0.02)
            if self.run_counter.size != size:
                size, since = self.run_counter.size, time.monotonic()

    def check(self) -> None:
        if any(process.poll() is not None for process in self.processes):
            raise self.failure("ended by itself")

    def failure(self, what: str) -> WorkersFailed:
        output = "".join(path.read_text(errors="replace")[-600:] for path in self.logs)
        return WorkersFailed(f"{output}\n{self.candidate.name} {what}")

    def pause(self) -> None:
        """Stop the workers with SIGSTOP, so that a backlog can be written."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)

    @property
    def pids(self) -> list[int]:
        """The pids of all processes of all workers."""
        return [pid for process in self.processes for pid in group(process.pid)]

    def __enter__(self) -> Workers:
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
    """Return the pids of a process group."""
    pids = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(ValueError, OSError):
            # The name, in parentheses, may hold blanks.
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[2]) == leader:
                pids.append(int(entry.name))
    return pids


def proportional_memory(pids: list[int]) -> float:
    """Return the memory in MiB; shared pages count in proportion."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):  # it may end in between
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total / 1024


def cpu_seconds(pids: Sequence[int]) -> float:
    """Return the CPU time of all threads of the processes, finer than the ticks of `stat`."""
    total = 0
    for pid in pids:
        # A process or thread may end in between.
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9
