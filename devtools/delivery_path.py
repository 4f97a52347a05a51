"""Count the files that one successful delivery passes through.

A worker with threads runs in this process, on an embedded server. Events are emitted one by one.
Every function of celeriac that the worker calls until the Celery task ends is recorded, with the
Lua files of the scripts that it calls. The path has the files that are recorded for every
event: the worker's maintenance runs too, but not each time.

    python -m devtools.delivery_path
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from celery.signals import task_postrun

import celeriac
from celeriac import Event, EventBus
from celeriac.store.redis.script import INCLUDE, Script
from celeriac.testing.server import start_server

SOURCE = Path(celeriac.__file__).parent
LUA = SOURCE / "store" / "redis" / "lua"
EVENTS, WARM_UP = 30, 10
PATIENCE = 8.0  # seconds


class Recorder:
    """Records the files of the functions that all threads call while `files` is a set."""

    def __init__(self) -> None:
        self.files: set[str] | None = None
        self.ignored = 0  # the thread that emits
        threading.setprofile(self)
        sys.setprofile(self)

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        files, name = self.files, frame.f_code.co_filename
        if event != "call" or files is None or not name.startswith(str(SOURCE)):
            return
        if threading.get_ident() == self.ignored:
            return
        files.add(str(Path(name).relative_to(SOURCE)))
        script = frame.f_locals.get("self")
        if isinstance(script, Script) and frame.f_code.co_name in ("of_keys", "in_full"):
            files.update(lua_files(script.name))


def lua_files(name: str) -> set[str]:
    """Return a script and what it includes."""
    files = {f"store/redis/lua/{name}"}
    for line in (LUA / name).read_text("utf-8").splitlines():
        if line.startswith(INCLUDE):
            files |= lua_files(line.removeprefix(INCLUDE).strip())
    return files


def run(redis_url: str) -> None:
    """Run a worker in this thread; print the path and end the process."""
    recorder, ended = Recorder(), threading.Semaphore(0)
    bus: EventBus = EventBus(service="shop", redis_url=redis_url)

    @bus.on("order.placed")
    def charge(event: Event[Any]) -> None: ...

    def note_end(**task: Any) -> None:
        ended.release()

    task_postrun.connect(note_end, weak=False)

    def emit() -> None:
        try:
            print_files(emit_each(bus, ended, recorder))
        finally:
            worker.stop()

    bus.app.conf.worker_redirect_stdouts = False  # the path is printed
    worker = bus.app.Worker(
        pool="threads", concurrency=1, loglevel="ERROR", quiet=True, without_mingle=True
    )
    threading.Thread(target=emit).start()
    worker.start()


def emit_each(bus: EventBus, ended: threading.Semaphore, recorder: Recorder) -> list[set[str]]:
    """Emit event after event, and return the files that were recorded for each."""
    recorded, recorder.ignored = [], threading.get_ident()
    backend, group = bus.service.backend, bus.service.handlers["shop.charge"].group("order")
    deadline = time.monotonic() + PATIENCE
    while not any(g.handler == "shop.charge" for g in backend.event_log.groups("order")):
        assert time.monotonic() < deadline, "the worker did not start"
        time.sleep(0.05)
    for number in range(WARM_UP + EVENTS):
        time.sleep(0.05)
        recorder.files = set()
        bus.emit("order.placed", {"number": number})
        assert ended.acquire(timeout=PATIENCE), "the event was not delivered"
        while backend.deliveries.stats(group).get("processed", 0) <= number:
            time.sleep(0.01)
        files, recorder.files = recorder.files, None
        recorded.append(files)
    return recorded[WARM_UP:]


def print_files(recorded: Sequence[set[str]]) -> None:
    """Print the files that were recorded for every event."""
    files = sorted(set.intersection(*recorded))
    for name in files:
        lines = len((SOURCE / name).read_text("utf-8").splitlines())
        print(f"{lines:5} {name}")
    lua = sum(name.endswith(".lua") for name in files)
    print(f"{len(files)} files: {len(files) - lua} Python, {lua} Lua", flush=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as directory, start_server(directory) as server:
        run(server.url)


if __name__ == "__main__":
    main()
