"""Coroutine handlers in a gevent pool, whose greenlets share one thread. A process of its own runs
them, since monkey-patching cannot be undone."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
from gevent import monkey

monkey.patch_all()

import asyncio
from contextvars import ContextVar
from types import SimpleNamespace

import gevent

from celeriac.executor.call import call

current, loops, ended = ContextVar("current"), set(), []
met = []


async def meet(n):
    loops.add(asyncio.get_running_loop())
    met.append(n)
    while len(met) < 3:  # each waits for all others: none of them blocks the thread
        await asyncio.sleep(0.001)
    assert current.get() == n
    if n == 2:
        raise ValueError(n)
    ended.append(n)


def run(n):
    current.set(n)
    call(SimpleNamespace(receiver=None, returned=None, function=meet, id="billing.meet"), n)


async def late(n):
    try:
        met.append(n)
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        ended.append(n)
        raise


greenlets = [gevent.spawn(run, n) for n in range(3)]
gevent.joinall(greenlets, timeout=20)
assert len(loops) == 1, loops
assert sorted(ended) == [0, 1], ended
assert [type(one.exception) for one in greenlets] == [type(None), type(None), ValueError]

def run_late():
    call(SimpleNamespace(receiver=None, returned=None, function=late, id="billing.late"), 3)


limit, limited = gevent.Timeout(), gevent.spawn(run_late)
with gevent.Timeout(20):
    while 3 not in met:
        gevent.sleep(0.001)
    limited.kill(limit)
    assert limited.exception is limit, limited.exception
    while 3 not in ended:
        gevent.sleep(0.001)
"""


def test_coroutines_run_concurrently_in_one_loop_and_are_cancelled_at_a_time_limit() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM], capture_output=True, text=True, timeout=60
    )
    assert 0 == done.returncode, done.stderr
