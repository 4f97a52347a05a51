"""The producer process: `python -m benchmarks.produce PEER SOCKET`.

A peer is a module with `emit(data)`, a function or coroutine function, that returns when the event
is accepted. `single` and `timed` use it; anything else is the peer's own function.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import socket
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

from benchmarks.payload import ORDER


def main(name: str, path: str) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        with connection.makefile("rw") as file:
            # The first answer confirms that the peer was imported.
            request = json.dumps(["ready", []])
            while request:
                try:
                    peer = import_module(f"benchmarks.peers.{name}")
                    answer = run(peer, *json.loads(request))
                except Exception:
                    answer = {"error": traceback.format_exc()}
                file.write(json.dumps(answer) + "\n")
                file.flush()
                request = file.readline()


def run(peer: Any, name: str, arguments: list[Any]) -> dict[str, Any]:
    function = getattr(peer, name, None) or partial(GENERIC[name], peer)
    started = time.perf_counter()
    answer = function(*arguments)
    if inspect.iscoroutine(answer):
        answer = LOOP.run_until_complete(answer)
    return {"seconds": time.perf_counter() - started, "answer": answer}


LOOP = asyncio.new_event_loop()
asyncio.set_event_loop(LOOP)


def ready(peer: Any) -> None:
    """For peers that need no preparation."""


def single(peer: Any, events: int) -> Any:
    """Emit events one at a time."""
    if inspect.iscoroutinefunction(peer.emit):
        return single_async(peer, events)
    for _ in range(events):
        peer.emit(ORDER)
    return None


async def single_async(peer: Any, events: int) -> None:
    for _ in range(events):
        await peer.emit(ORDER)


def timed(peer: Any, events: int, rate: float) -> Any:
    """Emit at an even rate. Each event has its time."""
    if inspect.iscoroutinefunction(peer.emit):
        return timed_async(peer, events, rate)
    begun = time.monotonic()
    for number in range(events):
        time.sleep(max(0.0, begun + number / rate - time.monotonic()))
        peer.emit({**ORDER, "sent": time.monotonic()})
    return None


async def timed_async(peer: Any, events: int, rate: float) -> None:
    begun = time.monotonic()
    for number in range(events):
        await asyncio.sleep(max(0.0, begun + number / rate - time.monotonic()))
        await peer.emit({**ORDER, "sent": time.monotonic()})


GENERIC: dict[str, Callable[..., Any]] = {"ready": ready, "single": single, "timed": timed}

if __name__ == "__main__":
    main(*sys.argv[1:])
