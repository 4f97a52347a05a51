"""What Redis keeps of an event: while it waits, once it was handled, and on its disk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis

from benchmarks.bench import Bench
from benchmarks.crew import Crew
from benchmarks.measurement import Contestant, Sample, Take
from benchmarks.remote import Remote


@contextmanager
def backlogged(bench: Bench, contestant: Contestant, url: str) -> Iterator[Take]:
    """What all keys hold more for each event that nobody has handled yet."""
    client: Any = redis.Redis.from_url(url, decode_responses=True)
    with Remote(bench, contestant, url, bench.tally()) as remote:
        if "BENCH_HANDLERS" in contestant.options:
            remote.call("subscribe_all")
        remote.call("one", 100)
        events = contestant.events or (2000 if bench.quick else 10_000)

        def take() -> Sample:
            before = held(client, "*")
            remote.call(contestant.act, events)
            return {"bytes/event": (held(client, "*") - before) / events}

        yield take
    client.close()


@contextmanager
def remembered(bench: Bench, contestant: Contestant, url: str) -> Iterator[Take]:
    """What is held for each handler run, and what the log keeps of the event by itself."""
    client: Any = redis.Redis.from_url(url, decode_responses=True)
    tally = bench.tally()
    events = contestant.events or (5000 if bench.quick else 20_000)
    with (
        Remote(bench, contestant, url, tally) as remote,
        Crew(bench, contestant, url, tally) as crew,
    ):
        crew.wake(remote)

        def take() -> Sample:
            size, log, everything = tally.size, held(client, "*:events"), held(client, "*")
            remote.call("fill", events)
            if not tally.wait(size + events * contestant.fanout, 60):
                raise crew.failure("did not handle all in time")
            crew.run_until_idle()
            runs, of_log = events * contestant.fanout, held(client, "*:events") - log
            return {
                # With statistics, and what Celery keeps in the same database.
                "bytes/run": (held(client, "*") - everything - of_log) / runs,
                "log bytes/event": of_log / events,
            }

        yield take
    client.close()


@contextmanager
def journaled(bench: Bench, contestant: Contestant, url: str) -> Iterator[Take]:
    """What processing adds to the append-only file, for each handler run."""
    client: Any = redis.Redis.from_url(url, decode_responses=True)
    tally = bench.tally()
    events = contestant.events or (5000 if bench.quick else 20_000)
    with (
        Remote(bench, contestant, url, tally) as remote,
        Crew(bench, contestant, url, tally) as crew,
    ):
        crew.wake(remote)

        def take() -> Sample:
            size, runs = tally.size, events * contestant.fanout
            crew.pause()
            remote.call("fill", events)
            before = client.info("persistence")["aof_current_size"]
            crew.resume()
            if not tally.wait(size + runs, 60):
                raise crew.failure("did not handle all in time")
            crew.run_until_idle()
            written = client.info("persistence")["aof_current_size"] - before
            return {"bytes/run": written / runs}

        yield take
    client.close()


def held(client: Any, pattern: str) -> int:
    """Bytes of all keys of that pattern, as the server counts them, every element looked at."""
    return sum(
        client.memory_usage(key, samples=0) or 0
        for key in client.scan_iter(match=pattern, count=1000)
    )
