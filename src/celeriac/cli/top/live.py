"""`top` on a terminal. Redis is read in a thread, so that keys respond at once."""

from __future__ import annotations

import threading
from dataclasses import replace

import redis

from celeriac.cli.terminal import make_console
from celeriac.cli.top.keyboard import pressed, raw_keys
from celeriac.cli.top.screen import screen
from celeriac.cli.top.view import View, Watch
from celeriac.cli.top.view_options import ViewOptions

SORT_KEYS = {"l": "lag", "o": "oldest", "r": "rate", "f": "failing", "d": "dead", "n": "name"}
PAGE = 10
BLINK = 0.25  # seconds until a new size of the terminal shows


class FrameReader:
    """The newest frame, or the error of reading it. A daemon thread, ended by `stop`."""

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


def press(options: ViewOptions, key: str) -> ViewOptions | None:
    """Return the options after a key; None to quit."""
    if options.typing:
        return _type(options, key)
    if key == "q":
        return None
    if key in SORT_KEYS:
        return replace(options, sort=SORT_KEYS[key])
    if key == "s":
        return options.next_sort()
    if key == "/":
        return replace(options, typing=True, offset=0, help=False)
    if key == "?":
        return replace(options, help=not options.help)
    if key == " ":
        return replace(options, paused=not options.paused)
    if key == "escape":
        return replace(options, filter="", help=False, offset=0)
    step = {"up": -1, "down": 1, "page up": -PAGE, "page down": PAGE}.get(key, 0)
    return replace(options, offset=max(0, options.offset + step))


def _type(options: ViewOptions, key: str) -> ViewOptions:
    if key == "enter":
        return replace(options, typing=False)
    if key == "escape":
        return replace(options, typing=False, filter="")
    if key == "backspace":
        return replace(options, filter=options.filter[:-1])
    return (
        replace(options, filter=options.filter + key) if len(key) == 1 and key != " " else options
    )


def run(watch: Watch, options: ViewOptions, interval: float) -> None:
    """Show frames until `q` or an interrupt. Needs a terminal for output and input."""
    from rich.live import Live

    console, reader = make_console(highlight=False), FrameReader(watch, interval)
    reader.start()
    shown: View | None = None
    try:
        with (
            raw_keys() as terminal,
            Live(console=console, screen=True, auto_refresh=False) as live,
        ):
            while True:
                if shown is None or not options.paused:
                    shown = reader.view
                now = replace(options, notice=reader.notice)
                live.update(screen(shown, now, console.width, console.height), refresh=True)
                for key in pressed(terminal, BLINK):
                    after = press(options, key)
                    if after is None:
                        return
                    rows = len(after.chosen(shown)) if shown else 0
                    options = replace(after, offset=min(after.offset, max(0, rows - 1)))
    except KeyboardInterrupt:
        return
    finally:
        reader.stop()
