"""Events over HTTP: one uvicorn process, and clients with connections that stay open."""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from benchmarks.affinity import bind, separate_cores
from benchmarks.bench import ROOT, Bench
from benchmarks.calibrate import events_for
from benchmarks.cpu_meter import CpuMeter
from benchmarks.measurement import Candidate, Sample, TakeSample
from benchmarks.payload import ORDER, SECRET, SOURCE
from celeriac.event import build_event, encode, new_event_id
from celeriac.testing.ports import free_port
from celeriac.testing.process_guard import GuardedProcess, guarded_popen

CONNECTIONS = 16
START_SECONDS = 30.0


@contextmanager
def received(bench: Bench, candidate: Candidate, url: str) -> Iterator[TakeSample]:
    """Events a second that one process accepts: each a request, in structured mode, with a new id.

    The clients share the core of Redis, so that the process of the application is the limit.
    """
    server, port = bench.server_of(candidate), free_port()
    log = bench.path(f"{candidate.peer}.log")
    with log.open("wb") as out:
        process: GuardedProcess = guarded_popen(
            [
                *(sys.executable, "-m", "uvicorn", f"benchmarks.peers.{candidate.peer}:app"),
                *("--port", str(port), "--no-access-log", "--log-level", "warning"),
                *("--lifespan", "off"),
            ],
            env={**bench.environment(url, bench.run_counter()), **candidate.options},
            cwd=ROOT,
            stdout=out,
            stderr=out,
        )
    try:
        asyncio.run(_until_open(port))

        def run(events: int) -> float:
            return asyncio.run(_post_all(port, events))

        events = candidate.events or events_for(bench.seconds / 2, run)

        def take_sample() -> Sample:
            meter = CpuMeter.start([server.pid], [process.pid])
            with separate_cores(server.pid, process.pid), _beside(server.pid):
                rate = events / run(events)
            return {"events/s": rate, **meter.stop(events, "event", "application")}

        yield take_sample
    finally:
        process.kill_group()
        process.wait()


@contextmanager
def _beside(server: int) -> Iterator[None]:
    """Bind this process, which has the clients, to the cores of the server."""
    if not hasattr(os, "sched_getaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    bind(os.getpid(), os.sched_getaffinity(server))
    try:
        yield
    finally:
        bind(os.getpid(), before)


async def _until_open(port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        await asyncio.sleep(0.05)
    raise TimeoutError(f"the application did not listen within {START_SECONDS:g} s")


async def _post_all(port: int, events: int) -> float:
    """Post so many events on all connections; return the seconds."""
    requests = iter([_request() for _ in range(events)])
    started = time.perf_counter()
    await asyncio.gather(*(_post(port, requests) for _ in range(CONNECTIONS)))
    return time.perf_counter() - started


async def _post(port: int, requests: Iterator[bytes]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for request in requests:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 202"):
                raise RuntimeError(f"an event was refused: {head.partition(b'.')[2][:40]!r}")
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
    finally:
        writer.close()


_numbers = itertools.count()


def _request() -> bytes:
    id = f"{new_event_id()}-{next(_numbers)}"
    body = encode(build_event("order.placed", ORDER, source=SOURCE, id=id))
    head = (
        "POST /events HTTP/1.1\r\nhost: bench\r\ncontent-type: application/cloudevents+json\r\n"
        f"authorization: Bearer {SECRET}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
