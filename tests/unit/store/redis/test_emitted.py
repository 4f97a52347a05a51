"""Counting what is emitted, at no cost for an emit: each once, also over forks and failures."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Mapping

import pytest
import redis

from celeriac.settings import Settings
from celeriac.store.redis import emitted
from celeriac.store.redis.emitted import EmittedCounter
from celeriac.store.redis.event_log import RedisEventLog, add_emitted_counts
from celeriac.store.redis.keys import Keys


class Told:
    """What Redis does: it adds up the counts of several threads."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self.calls = 0
        self.error: Exception | None = None

    def __call__(self, counts: Mapping[str, int]) -> None:
        self.calls += 1
        if self.error is not None:
            raise self.error
        with self._lock:
            self.counts.update(counts)


def await_flushes() -> None:
    for thread in threading.enumerate():
        if thread.name == "celeriac-emitted":
            thread.join(20)


def test_many_are_recorded_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emitted, "FLUSH_EVERY", 0.05)
    all_noted = threading.Event()

    class Waiting(EmittedCounter):
        """Its thread may be faster than the loop below."""

        def flush(self) -> None:
            assert all_noted.wait(20)
            super().flush()

    told = Told()
    tally = Waiting(told)
    for _ in range(100):
        tally.note(["order.placed"])
    all_noted.set()
    await_flushes()
    assert (Counter({"order.placed": 100}), 1) == (told.counts, told.calls)


def test_what_many_threads_note_is_counted_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emitted, "FLUSH_EVERY", 0.01)
    told = Told()
    tally = EmittedCounter(told)
    stop = threading.Event()

    def flush() -> None:
        while not stop.is_set():
            tally.flush()

    def note() -> None:
        for _ in range(5000):
            tally.note(("order.placed",))

    flusher = threading.Thread(target=flush)
    threads = [threading.Thread(target=note) for _ in range(4)]
    for thread in (flusher, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    flusher.join()
    await_flushes()
    tally.flush()
    assert 20_000 == told.counts["order.placed"]


def test_a_failure_to_record_reaches_no_emitter() -> None:
    told = Told()
    tally = EmittedCounter(told)
    told.error = redis.ConnectionError("away")
    tally.note(["order.placed"])
    tally.flush()
    told.error = None
    tally.note(["order.placed"])
    tally.flush()
    assert Counter({"order.placed": 1}) == told.counts


def test_a_forked_child_does_not_record_what_its_parent_noted() -> None:
    """In a process of its own, without threads: Python warns of other forks."""
    script = (
        "import os; from celeriac.store.redis.emitted import EmittedCounter;"
        "tell = lambda counts: print(os.getpid() != parent, dict(counts), flush=True);"
        "tally, parent = EmittedCounter(tell), os.getpid();"
        "tally._scheduled = True; tally.note(['order.placed']);"
        "child = os.fork();"
        "tally.note(['order.paid'] if child == 0 else []);"
        "child == 0 or os.waitpid(child, 0);"  # one prints after the other: lines would mix
        "tally.flush();"
        "os._exit(0)"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert {"True {'order.paid': 1}", "False {'order.placed': 1}"} == {*ran.stdout.splitlines()}


def test_a_process_records_the_rest_when_it_ends(settings: Settings) -> None:
    script = (
        "from celeriac import EventBus; from celeriac.store.redis import emitted;"
        # it alone: on a loaded machine the thread would have told all before the end
        "emitted.FLUSH_EVERY = 3600;"
        f"bus = EventBus(service='shop', redis_url={settings.redis_url!r},"
        f" namespace={settings.namespace!r});"
        "bus.emit('order.placed'); bus.emit_many([('order.paid', n) for n in range(700)])"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    [volume] = RedisEventLog(settings).stream_stats(["order"])
    assert {"order.placed": 1, "order.paid": 700} == volume.emitted
    assert 701 == volume.appended


def test_types_without_bound_are_counted_as_other(settings: Settings) -> None:
    event_log, keys = RedisEventLog(settings), Keys(settings.namespace)
    add_emitted_counts(event_log.client, keys, {f"order.n{n}": 1 for n in range(1200)})
    add_emitted_counts(event_log.client, keys, {"order.n1": 5, "order.late": 1})
    [volume] = event_log.stream_stats(["order"])
    assert 1001 == len(volume.emitted)
    assert (6, 201) == (volume.emitted["order.n1"], volume.emitted["other"])
    assert 1206 == sum(volume.emitted.values())
