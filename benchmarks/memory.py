"""What Redis keeps of an event: while it waits, once it was handled, and on its disk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis

from benchmarks.bench import Bench
from benchmarks.measurement import Candidate, Sample, TakeSample
from benchmarks.remote import Remote
from benchmarks.workers import Workers


@contextmanager
def backlogged(bench: Bench, candidate: Candidate, url: str) -> Iterator[TakeSample]:
    """Return the memory of all keys for each event that no handler has processed."""
    client: Any = redis.Redis.from_url(url, decode_responses=True)
    with Remote(bench, candidate, url, bench.run_counter()) as remote:
        if "BENCH_HANDLERS" in candidate.options:
            remote.call("subscribe_all")
        remote.call("single", 100)
        events = candidate.events or (2000 if bench.quick else 10_000)

        def take_sample() -> Sample:
            before = memory_of(client, "*")
            remote.call(candidate.mode, events)
            return {"bytes/event": (memory_of(client, "*") - before) / events}

        yield take_sample
    client.close()


@contextmanager
def remembered(bench: Bench, candidate: Candidate, url: str) -> Iterator[TakeSample]:
    """What is held for each handler run, and what the log keeps of the event by itself."""
    client: Any = redis.Redis.from_url(url, decode_responses=True)
    run_counter = bench.run_counter()
    events = candidate.events or (5000 if bench.quick else 20_000)
    with (
        Remote(bench, candidate, url, run_counter) as remote,
        Workers(bench, candidate, url, run_counter) as workers,
    ):
        workers.wake(remote)

        def take_sample() -> Sample:
            size, entries, everything = (
                run_counter.size,
                memory_of(client, "*:events"),
                memory_of(client, "*"),
            )
            remote.call("fill", events)
            if not run_counter.wait(size + events * candidate.fanout, 60):
                raise workers.failure("did not handle all in time")
            workers.run_until_idle()
            runs, of_log = events * candidate.fanout, memory_of(client, "*:events") - entries
            return {
                # With statistics, and what Celery keeps in the same database.
                "bytes/run": (memory_of(client, "*") - everything - of_log) / runs,
                "log bytes/event": of_log / events,
            }

        yield take_sample
    client.close()


@contextmanager
def journaled(bench: Bench, candidate: Candidate, url: str) -> Iterator[TakeSample]:
    """What processing adds to the append-only file, for each handler run."""
    client: Any = redis.Redis.from_url(url, decode_responses=True)
    run_counter = bench.run_counter()
    events = candidate.events or (5000 if bench.quick else 20_000)
    with (
        Remote(bench, candidate, url, run_counter) as remote,
        Workers(bench, candidate, url, run_counter) as workers,
    ):
        workers.wake(remote)

        def take_sample() -> Sample:
            size, runs = run_counter.size, events * candidate.fanout
            workers.pause()
            remote.call("fill", events)
            before = client.info("persistence")["aof_current_size"]
            workers.resume()
            if not run_counter.wait(size + runs, 60):
                raise workers.failure("did not handle all in time")
            workers.run_until_idle()
            written = client.info("persistence")["aof_current_size"] - before
            return {"bytes/run": written / runs}

        yield take_sample
    client.close()


def memory_of(client: Any, pattern: str) -> int:
    """Bytes of all keys of that pattern, as the server counts them, every element looked at."""
    return sum(
        client.memory_usage(key, samples=0) or 0
        for key in client.scan_iter(match=pattern, count=1000)
    )
