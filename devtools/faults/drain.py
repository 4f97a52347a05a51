"""Waiting until a system has dealt with what it accepted, or until it never will."""

from __future__ import annotations

import time

from devtools.faults.testbed import Testbed

LOOK_AT_DEAD_EVERY = 0.2


def drain(testbed: Testbed, seconds: float) -> float | None:
    """Wait until each delivery had its effect or is dead. Return the recovery time, or None.

    Then waits for the system to hold nothing any more, so that what would run twice has run.
    """
    testbed.restored(wait=False)
    done = _until_done(testbed, time.monotonic() + seconds)
    recovery = testbed.recovery_time() if done else None
    testbed.until(
        lambda: testbed.system.in_flight() == 0,
        "an empty system",
        2 * testbed.lease + 3,
        fatal=False,
    )
    return recovery


def drain_stock(testbed: Testbed, seconds: float) -> None:
    """Wait for stock Celery, which does not list its deliveries: until nothing changes any more.

    Unacknowledged messages return within the visibility timeout and a second. A new worker returns
    the messages that an old worker did not.
    """
    deadline = time.monotonic() + seconds
    for fresh in (False, True):
        if fresh:
            if not testbed.system.in_flight():
                return
            testbed.worker(wait=False)
        quiet_for, begun, since = testbed.visibility + 1.5, -1, time.monotonic()
        while time.monotonic() < deadline:
            if testbed.effect_count() >= len(testbed.expected) and not testbed.system.in_flight():
                return
            testbed.supervise()
            now = testbed.store.began_count()
            if now != begun:
                begun, since = now, time.monotonic()
            if time.monotonic() - since > quiet_for:
                break
            time.sleep(0.1)


def _until_done(testbed: Testbed, deadline: float) -> bool:
    looked = 0.0
    while True:
        now = time.monotonic()
        wanted = len(testbed.expected - testbed.failing)
        if testbed.effect_count() >= wanted and now - looked >= LOOK_AT_DEAD_EVERY:
            looked = now
            if testbed.count().lost == 0:
                return True
        if now > deadline:
            return False
        testbed.supervise()
        time.sleep(0.02)
