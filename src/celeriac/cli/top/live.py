"""`top` on a terminal: reads in a thread of its own, so that keys are answered at once."""

from __future__ import annotations

import threading
from dataclasses import replace

import redis

from celeriac.cli.terminal import make_console
from celeriac.cli.top.keyboard import pressed, raw_keys
from celeriac.cli.top.screen import screen
from celeriac.cli.top.view import View, Watch
from celeriac.cli.top.view_options import ViewOptions

LETTERS = {"l": "lag", "o": "oldest", "r": "rate", "f": "failing", "d": "dead", "n": "name"}
PAGE = 10
BLINK = 0.25  # seconds; a new size of the terminal shows after so long


class Reader:
    """The newest frame, and what kept it from being read. A daemon thread, ended by `stop`."""

    def __init__(self, watch: Watch, interval: float) -> None:
        self.view: View | None = None
        self.notice = ""
        self._watch = watch
        self._interval = interval
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="celeriac-top", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self.view, self.notice = self._watch.view(), ""
            except redis.RedisError as error:
                self.notice = f"Redis does not answer: {' '.join(str(error).split())}"
            self._stopped.wait(self._interval)


def press(looks: ViewOptions, key: str) -> ViewOptions | None:
    """How it is looked at after a key; None to end. Pure."""
    if looks.typing:
        return _type(looks, key)
    if key == "q":
        return None
    if key in LETTERS:
        return replace(looks, sort=LETTERS[key])
    if key == "s":
        return looks.next_sort()
    if key == "/":
        return replace(looks, typing=True, offset=0, help=False)
    if key == "?":
        return replace(looks, help=not looks.help)
    if key == " ":
        return replace(looks, paused=not looks.paused)
    if key == "escape":
        return replace(looks, filter="", help=False, offset=0)
    step = {"up": -1, "down": 1, "page up": -PAGE, "page down": PAGE}.get(key, 0)
    return replace(looks, offset=max(0, looks.offset + step))


def _type(looks: ViewOptions, key: str) -> ViewOptions:
    if key == "enter":
        return replace(looks, typing=False)
    if key == "escape":
        return replace(looks, typing=False, filter="")
    if key == "backspace":
        return replace(looks, filter=looks.filter[:-1])
    return replace(looks, filter=looks.filter + key) if len(key) == 1 and key != " " else looks


def run(watch: Watch, looks: ViewOptions, interval: float) -> None:
    """Until `q` or an interrupt. Needs a terminal for what it shows and for the keys."""
    from rich.live import Live

    console, reader = make_console(highlight=False), Reader(watch, interval)
    reader.start()
    shown: View | None = None
    try:
        with (
            raw_keys() as terminal,
            Live(console=console, screen=True, auto_refresh=False) as live,
        ):
            while True:
                if shown is None or not looks.paused:
                    shown = reader.view
                now = replace(looks, notice=reader.notice)
                live.update(screen(shown, now, console.width, console.height), refresh=True)
                for key in pressed(terminal, BLINK):
                    after = press(looks, key)
                    if after is None:
                        return
                    rows = len(after.chosen(shown)) if shown else 0
                    looks = replace(after, offset=min(after.offset, max(0, rows - 1)))
    except KeyboardInterrupt:
        return
    finally:
        reader.stop()
