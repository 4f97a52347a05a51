"""top: what every handler does now, for a terminal of any size and for machines."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from celeriac import EventBus
from celeriac.cli.top.keyboard import named
from celeriac.cli.top.live import press
from celeriac.cli.top.screen import screen, still
from celeriac.cli.top.table import number
from celeriac.cli.top.view import HandlerRow, ServiceRow, View, Watch
from celeriac.cli.top.view_options import SORTS, ViewOptions
from celeriac.store.memory.clock import MemoryClock
from celeriac.testing.server import EmbeddedServer, start_server
from tests.unit.cli.conftest import Run, refuse
from tests.unit.tracking.shop import Shop


def row(name: str, **more: float) -> HandlerRow:
    return HandlerRow(handler=name, service=name.partition(".")[0], **more)  # type: ignore[arg-type]


VIEW = View(
    at_ms=1_795_418_940_000,
    services=(
        *(ServiceRow(service=f"s{n}", workers=2, processes=4) for n in range(9)),
        ServiceRow(service="gone", lag=3),
    ),
    handlers=tuple(
        row(f"s{n}.handler_with_a_name_of_some_length_{n}", lag=n * 111, rate=n, dead=n % 3,
            oldest_s=n * 7.0, waiting=n, queued=n, running=1, scheduled=n, blocked=n, failing=n / 4,
            run_p95_s=0.01 * n, wait_p95_s=0.1 * n)
        for n in range(30)
    ),
    emitted=1234.5,
)  # fmt: skip


def rendered(frame: RenderableType, width: int) -> list[str]:
    console = Console(width=width, force_terminal=True, color_system=None, highlight=False)
    with console.capture() as captured:
        console.print(frame)
    return captured.get().splitlines()


@pytest.mark.parametrize("height", [5, 10, 24, 60])
@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 132, 250])
def test_a_screen_is_never_larger_than_the_terminal(width: int, height: int) -> None:
    for looks in (
        ViewOptions(),
        ViewOptions(help=True),
        ViewOptions(typing=True, filter="s1"),
        ViewOptions(offset=25),
    ):
        lines = rendered(screen(VIEW, looks, width, height), width)
        assert len(lines) <= height
        assert max(map(len, lines)) <= width


def test_a_narrow_window_keeps_the_important_columns() -> None:
    titles = {
        width: next(x for x in rendered(still(VIEW, ViewOptions(), width), width) if "handler" in x)
        for width in (60, 80, 160)
    }
    assert all("lag" in title and "rate/s" in title for title in titles.values())
    assert "blocked" in titles[160] and "blocked" not in titles[80]
    assert "dead" in titles[80] and "waiting" not in titles[80]


def test_rows_are_sorted_as_selected() -> None:
    assert "s29" in ViewOptions(sort="lag").chosen(VIEW)[0].handler
    assert "s0" in ViewOptions(sort="name").chosen(VIEW)[0].handler
    assert {row.dead for row in ViewOptions(sort="dead").chosen(VIEW)[:10]} == {2}
    assert ["s1.handler_with_a_name_of_some_length_1"] == [
        row.handler for row in ViewOptions(filter="LENGTH_1").chosen(VIEW) if row.service == "s1"
    ]


def test_a_service_without_a_worker_is_highlighted() -> None:
    assert any("gone no worker" in line for line in rendered(still(VIEW, ViewOptions(), 160), 160))


def test_keys_change_how_it_is_looked_at() -> None:
    looks: ViewOptions | None = ViewOptions()
    for key in ("s", "?", "?", " ", "down", "down", "up"):
        assert looks is not None
        looks = press(looks, key)
    assert ViewOptions(sort="oldest", paused=True, offset=1) == looks
    assert press(ViewOptions(), "q") is None
    assert ViewOptions(sort="dead") == press(ViewOptions(), "d")


def test_every_sort_comes_round() -> None:
    looks, seen = ViewOptions(), []
    for _ in SORTS:
        looks = looks.next_sort()
        seen.append(looks.sort)
    assert {*SORTS} == {*seen} and looks == ViewOptions()


def test_a_filter_is_typed_in_and_q_is_a_letter_of_it() -> None:
    looks: ViewOptions | None = ViewOptions()
    for key in ("/", "q", "x", "backspace", "down", "enter"):
        assert looks is not None
        looks = press(looks, key)
    assert ViewOptions(filter="q") == looks
    assert ViewOptions() == press(replace(ViewOptions(filter="q"), typing=True), "escape")


def test_keys_are_named_however_many_come_at_once() -> None:
    assert ["up", "q", "é", "enter", "page down"] == list(named("\x1b[Aqé\r\x1b[6~".encode()))
    assert ["escape"] == list(named(b"\x1b"))
    assert [] == list(named(b"\x1b[15;2~")), "a key that has no meaning here"


def test_rates_are_those_between_two_readings(shop: Shop, clock: MemoryClock) -> None:
    shop.on("billing.charge", "order.placed")
    shop.on("mail.send", "order.placed", retries=0, function=refuse)
    shop.start()
    watch = Watch(shop.backend)
    first = watch.view()
    assert (0, 0, 0) == (first.rate, first.failing, first.emitted)
    for _ in range(30):
        shop.emit("order.placed")
    shop.run_until_idle()
    time.sleep(0.25)
    view = watch.view()
    rows = {row.handler: row for row in view.handlers}
    assert rows["billing.charge"].rate > 0 == rows["billing.charge"].failing
    assert rows["mail.send"].failing > 0 == rows["mail.send"].rate
    assert (30, 30) == (rows["mail.send"].dead, view.dead)
    assert abs(view.emitted - rows["billing.charge"].rate) < 1e-6
    assert {"billing": 1, "mail": 1} == {one.service: one.workers for one in view.services}


def test_the_first_reading_has_the_rates_of_the_last_minutes(shop: Shop) -> None:
    shop.on("billing.charge", "order.placed")
    shop.start()
    for _ in range(120):
        shop.emit("order.placed")
    shop.run_until_idle()
    [row] = Watch(shop.backend).view().handlers
    assert 1 <= row.rate <= 2
    assert row.run_p95_s is not None and row.wait_p95_s is not None


def test_a_backlog_and_a_paused_handler_are_shown(shop: Shop, clock: MemoryClock) -> None:
    shop.on("billing.charge", "order.placed")
    shop.start()
    shop.emit("order.placed")
    clock.advance(90_000)
    shop.backend.circuits.pause("billing.charge", reason="maintenance")
    view = Watch(shop.backend).view()
    [row] = view.handlers
    assert (1, 90.0) == (row.lag, row.oldest_s)
    text = "\n".join(rendered(still(view, ViewOptions(), 120), 120))
    assert "billing.charge paused" in text and "90 s" in text
    assert "billing no worker" in text, "the last beat is too old"


def test_once_and_json(shop: Shop, run: Run) -> None:
    shop.on("billing.charge", "order.placed")
    shop.on("mail.send", "order.placed")
    shop.start()
    answer = run("top", "--once", "--interval", "0.2", "--filter", "mail")
    assert 0 == answer.exit_code
    assert "mail.send" in answer.out and "billing.charge" not in answer.out
    assert "quit" not in answer.out
    found = json.loads(run("top", "--json", "--interval", "0.2", "--sort", "name").out)
    assert ["billing.charge", "mail.send"] == [one["handler"] for one in found["handlers"]]
    assert {"emitted", "services", "at"} <= found.keys()


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (0.42, "0.4"), (12.6, "13"), (1234, "1,234"), (56_000, "56k"), (7.8e6, "7.8M")],
)
def test_numbers_are_short(value: float, shown: str) -> None:
    assert shown == number(value)


class Terminal:
    """`celeriac top` on a terminal of its own."""

    def __init__(self, url: str) -> None:
        self.master, slave = pty.openpty()
        script = "from celeriac.cli import main; main()"
        self.process = subprocess.Popen(
            [sys.executable, "-c", script, "--redis-url", url, "top", "--interval", "0.2"],
            stdin=slave, stdout=slave, stderr=slave, close_fds=True,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "24"},
        )  # fmt: skip
        os.close(slave)
        self.seen = ""

    def until(self, text: str) -> None:
        """Wait until the frame is drawn again."""
        deadline, self.seen = time.monotonic() + 60, ""
        while text not in self.seen:
            assert time.monotonic() < deadline, (text, self.seen[-2000:])
            if select.select([self.master], [], [], 0.1)[0]:
                self.seen += os.read(self.master, 65536).decode(errors="replace")

    def press(self, keys: str) -> None:
        os.write(self.master, keys.encode())


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    with start_server(tmp_path) as server:
        yield server


@pytest.fixture
def terminal(server: EmbeddedServer) -> Iterator[Terminal]:
    one = Terminal(server.url)
    yield one
    if one.process.poll() is None:
        one.process.kill()
    one.process.wait(10)
    os.close(one.master)


def test_it_is_live_on_a_terminal_survives_redis_and_ends_with_q(
    server: EmbeddedServer, terminal: Terminal
) -> None:
    terminal.until("no handlers yet")
    bus = EventBus(service="billing", redis_url=server.url)
    bus.service.backend.event_log.join("order", "billing.charge", "0")
    terminal.until("billing.charge")
    server.kill()
    terminal.until("Redis does not answer")
    server.start()
    terminal.until("redis://127.0.0.1")
    terminal.press("s")
    terminal.until("sort: oldest")
    terminal.press("q")
    # what is left to be shown must be read, or the process cannot end
    deadline = time.monotonic() + 30
    while terminal.process.poll() is None and time.monotonic() < deadline:
        if select.select([terminal.master], [], [], 0.1)[0]:
            try:
                terminal.seen += os.read(terminal.master, 65536).decode(errors="replace")
            except OSError:
                break
    assert 0 == terminal.process.wait(30)
    assert "Traceback" not in terminal.seen


def test_an_interrupt_ends_it_too(terminal: Terminal) -> None:
    terminal.until("no handlers yet")
    terminal.process.send_signal(signal.SIGINT)
    assert 0 == terminal.process.wait(30)
