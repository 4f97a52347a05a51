"""tail: what is emitted comes out, once and in order, whatever happens to Redis."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from celeriac import EventBus
from celeriac.event_log import follower as follower_module
from celeriac.event_log.follower import PAGE, Follower
from celeriac.store.memory.clock import MemoryClock
from celeriac.testing.server import start_server
from tests.unit.cli.conftest import Run
from tests.unit.tracking.shop import Shop

MAIN = "from celeriac.cli import main; main()"


def drain(follower: Follower) -> list[str]:
    """Bodies of all that is new."""
    found: list[str] = []
    while some := follower.poll(0.0):
        found += [entry.body.decode() for _, entry in some if entry.body is not None]
    return found


def test_it_begins_now_and_gives_each_entry_once_in_the_order_they_came(shop: Shop) -> None:
    event_log = shop.backend.event_log
    event_log.register_domains(["order", "payment"])
    event_log.append("order", b"before")
    follower = Follower(event_log)
    assert [] == drain(follower)
    for n in range(6):
        event_log.append("payment" if n % 2 else "order", str(n).encode())
    assert sorted("012345") == sorted(drain(follower))
    assert [] == drain(follower)


def test_a_domain_that_appears_later_is_followed_from_its_first_entry(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower_module, "DOMAINS_EVERY", 0.0)
    event_log = shop.backend.event_log
    follower = Follower(event_log)
    assert [] == drain(follower)
    event_log.register_domains(["order"])
    event_log.append("order", b"first")
    assert ["first"] == drain(follower)


def test_a_backlog_of_several_domains_comes_as_one_in_order(shop: Shop, clock: MemoryClock) -> None:
    event_log = shop.backend.event_log
    event_log.register_domains(["order", "payment"])
    for n in range(3 * PAGE):
        clock.advance(1)
        # one domain has far more than the other: its pages end earlier
        event_log.append("payment" if n % 7 == 0 else "order", str(n).encode())
    follower = Follower(event_log, since_ms=0)
    assert [str(n) for n in range(3 * PAGE)] == drain(follower)


def test_since_is_a_time_and_what_is_older_stays_away(shop: Shop, clock: MemoryClock) -> None:
    event_log = shop.backend.event_log
    event_log.register_domains(["order"])
    event_log.append("order", b"old")
    clock.advance(1000)
    event_log.append("order", b"new")
    assert ["new"] == drain(Follower(event_log, since_ms=clock.now_ms()))


def test_a_pattern_chooses_among_types_and_domains(
    shop: Shop, run: Run, clock: MemoryClock
) -> None:
    for type in ("order.placed", "order.failed", "payment.failed"):
        clock.advance(1)
        shop.emit(type, {"n": 1}, id=type)
    answer = run("tail", "#.failed", "--since", "1h", "--limit", "2")
    assert 0 == answer.exit_code
    assert ["order.failed", "payment.failed"] == [
        line.split()[1] for line in answer.out.splitlines()
    ]


def test_data_is_omitted_or_masked_by_default(shop: Shop, run: Run) -> None:
    shop.emit("order.placed", {"card": "4242", "n": 7}, sensitive=["card"])

    def tailed(*options: str) -> str:
        return run("tail", "--since", "1h", "--limit", "1", *options).out

    assert "4242" not in tailed() and '"n"' not in tailed()
    assert '{"card":"***","n":7}' in tailed("--data")
    assert "4242" in tailed("--reveal")
    assert "data" not in json.loads(tailed("--json"))["event"]
    assert {"card": "***", "n": 7} == json.loads(tailed("--json", "--data"))["event"]["data"]
    assert {"card": "4242", "n": 7} == json.loads(tailed("--json", "--reveal"))["event"]["data"]


def test_each_line_of_json_is_one_event_with_its_place(shop: Shop, run: Run) -> None:
    id = shop.emit("order.placed", subject="order/7")
    line = json.loads(run("tail", "--since", "1h", "--limit", "1", "--json").out)
    assert ("order", id, "order/7") == (
        line["domain"], line["event"]["id"], line["event"]["subject"]
    )  # fmt: skip
    assert line["time"].endswith("Z") and "-" in line["entry"]


def test_an_invalid_entry_is_reported_and_skipped(shop: Shop, run: Run) -> None:
    shop.backend.event_log.register_domains(["order"])
    shop.backend.event_log.append("order", b"\xff\x1b[2Jnonsense")
    shop.emit("order.placed")
    lines = run("tail", "--since", "1h", "--limit", "2").out.splitlines()
    assert "no event: entry" in lines[0] and "\x1b" not in lines[0]
    assert "order.placed" in lines[1]


def test_a_pattern_that_is_none_is_refused(run: Run) -> None:
    answer = run("tail", "order.")
    assert 2 == answer.exit_code
    assert "empty segment" in answer.err


class Tail:
    """`celeriac tail` as a process; its lines as they come."""

    def __init__(self, url: str, *options: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", MAIN, "--redis-url", url, "tail", "--json", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        self.lines: list[dict[str, Any]] = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(json.loads(line))

    def until(self, count: int) -> list[str]:
        deadline = time.monotonic() + 60
        while len(self.lines) < count and time.monotonic() < deadline:
            time.sleep(0.02)
        return [line["event"]["id"] for line in self.lines]


@pytest.fixture
def processes() -> Iterator[list[Tail]]:
    started: list[Tail] = []
    yield started
    for one in started:
        one.process.kill()
        one.reader.join(10)  # before its file is closed
        one.process.communicate()


def test_it_survives_a_restart_of_redis_without_a_gap_or_a_double(
    tmp_path: Path, processes: list[Tail]
) -> None:
    with start_server(tmp_path) as server:
        bus = EventBus(service="shop", redis_url=server.url, emit_timeout=20)
        bus.emit("order.placed", id="old")
        tail = Tail(server.url, "--since", "1h")
        processes.append(tail)
        assert ["old"] == tail.until(1)
        bus.emit("order.placed", id="a")
        assert ["old", "a"] == tail.until(2)
        server.restart()
        bus.emit("order.placed", id="b")
        bus.emit("payment.captured", id="c")
        assert ["old", "a", "b", "c"] == tail.until(4)
        tail.process.send_signal(signal.SIGINT)
        assert 0 == tail.process.wait(30)
        assert tail.process.stderr is not None
        assert "Redis is reachable again" in tail.process.stderr.read()


def test_a_reader_that_has_seen_enough_ends_it_without_a_word(tmp_path: Path) -> None:
    with start_server(tmp_path) as server:
        bus = EventBus(service="shop", redis_url=server.url)
        bus.emit_many([("order.placed", {"x": "y" * 200}) for _ in range(3000)])
        ran = subprocess.run(
            f"{sys.executable} -c '{MAIN}' --redis-url {server.url} tail --since 1h --data"
            " --limit 3000 | head -1",
            shell=True, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
    assert "order.placed" in ran.stdout
    assert "" == ran.stderr
