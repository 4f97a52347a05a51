"""Archive: store the event log in Parquet files, and replay them after they left the log."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import redis

from benchmarks.bench import Bench
from benchmarks.measurement import Candidate, Sample, TakeSample
from benchmarks.payload import ORDER
from benchmarks.progress import Progress
from celeriac import Event, EventBus
from celeriac.dispatcher.groups import join

HANDLER = "billing.index"
REPLAY = ("-c", "from celeriac.cli import main; main()")
ARCHIVER = ("-m", "benchmarks.archiver")
SLICE = 500_000  # events that Redis holds at a time


@contextmanager
def archived(bench: Bench, candidate: Candidate, url: str) -> Iterator[TakeSample]:
    """Events a second of an archiver and of `celeriac replay --from`, with their CPU time and the
    peak of their memory, each in one process for all events.

    Events are emitted, stored and trimmed in slices. The archiver's rate is that while it stores;
    the replay's includes the start of its process. Replayed events wait for no handler.
    """
    bus = EventBus(service="billing", redis_url=url)
    bus.on("order.placed", name="index")(handle)
    client: Any = redis.Redis.from_url(url)
    stream = bus.service.backend.event_log.keys.events("order")  # type: ignore[attr-defined]
    events = candidate.events or (20_000 if bench.quick else 100_000)

    def take_sample() -> Sample:
        client.flushdb()
        folder = bench.path("archive")
        join(bus.service.backend, bus.service.handlers.values(), ())
        group = Group(client, stream)
        seconds, stored, progress = 0.0, 0, Progress("archived", events)
        with ArchiverProcess(url, folder) as archiver:
            while stored < events:
                count = min(SLICE, events - stored)
                bus.emit_many({"type": "order.placed", "data": ORDER} for _ in range(count))
                started = time.monotonic()
                if (of_slice := archiver.store()) != count:
                    raise RuntimeError(f"{of_slice} of {count} events were archived")
                seconds += time.monotonic() - started
                stored += count
                group.finish()
                progress.show(stored)
        archiving = archiver.usage
        span = ("--since", "1970-01-01", "--from", folder.as_uri())
        with group.finishing(Progress("replayed", events), begins_at=group.appended):
            replaying = run(url, "replay", HANDLER, *span, "--yes")
        if (replayed := group.appended - events) != events:
            raise RuntimeError(f"{replayed} of {events} events were replayed")
        return {
            "archived/s": events / seconds,
            "replayed/s": events / replaying.seconds,
            "archive CPU µs/event": archiving.cpu_seconds / events * 1e6,
            "replay CPU µs/event": replaying.cpu_seconds / events * 1e6,
            "archive MiB": archiving.peak_mib,
            "replay MiB": replaying.peak_mib,
            "Redis MiB": group.peak_mib,
            "file bytes/event": size_of(folder) / events,
        }

    yield take_sample
    client.close()


def handle(event: Event) -> None: ...


class Group:
    """The handler's consumer group: its events are finished without being read.

    `peak_mib` is the largest memory of the server that was seen.
    """

    def __init__(self, client: Any, stream: str) -> None:
        self._client, self._stream = client, stream
        self.peak_mib = 0.0

    @property
    def appended(self) -> int:
        """The number of events that were ever appended."""
        return int(self._client.xinfo_stream(self._stream)["entries-added"])

    def finish(self, keep: int = 0) -> None:
        """Move the group to the end of the log, and trim the log."""
        self.peak_mib = max(self.peak_mib, self._client.info("memory")["used_memory"] / 2**20)
        self._client.execute_command("XGROUP", "SETID", self._stream, HANDLER, "$")
        self._client.xtrim(self._stream, maxlen=keep, approximate=False)

    @contextmanager
    def finishing(self, progress: Progress, begins_at: int) -> Iterator[None]:
        """Within, finish all events as they come, as a handler without work does."""
        done = threading.Event()

        def finish() -> None:
            while not done.wait(0.02):
                # A replay reads the newest entries.
                self.finish(keep=10_000)
                progress.show(self.appended - begins_at)

        thread = threading.Thread(target=finish)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


class Usage(NamedTuple):
    """What a process used from its start to its end."""

    seconds: float
    cpu_seconds: float
    peak_mib: float


class ArchiverProcess:
    """An archiver in its own process, from `with` to its end. Then `usage` is set."""

    def __init__(self, url: str, folder: Path) -> None:
        self._started = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, *ARCHIVER, url, folder.as_uri()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.usage: Usage

    def store(self) -> int:
        """Store all waiting events; return how many."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline() or 0)

    def __enter__(self) -> ArchiverProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self.usage = usage_of(self._process, self._started)


def run(url: str, *arguments: str) -> Usage:
    """Run a command; return what it used. Its errors are on our stderr."""
    started = time.monotonic()
    command = [sys.executable, *REPLAY, "--redis-url", url, *arguments]
    return usage_of(subprocess.Popen(command, stdout=subprocess.DEVNULL), started)


def usage_of(process: subprocess.Popen[Any], started: float) -> Usage:
    """Wait for the process to end; return what it used. Raises RuntimeError if it failed."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
    seconds = time.monotonic() - started
    return Usage(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*.parquet"))
