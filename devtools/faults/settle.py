"""Waiting until a system has dealt with what it accepted, or until it never will."""

from __future__ import annotations

import time

from devtools.faults.scene import Scene

LOOK_AT_DEAD_EVERY = 0.2


def settle(scene: Scene, seconds: float) -> float | None:
    """The time to heal, once each delivery had its effect or was dead; None if that took too long.

    Then waits for the system to hold nothing any more, so that what would run twice has run.
    """
    scene.whole(wait=False)
    done = _until_done(scene, time.monotonic() + seconds)
    healed = scene.heal_time() if done else None
    scene.until(lambda: scene.side.held() == 0, "an empty system", 2 * scene.lease + 3, fatal=False)
    return healed


def settle_stock(scene: Scene, seconds: float) -> None:
    """The same for Celery, which does not tell what it holds: until nothing happens any more.

    What is unacknowledged comes back within the visibility timeout and the second of the sweep,
    and a new worker brings back what an old one's sweep forgot.
    """
    deadline = time.monotonic() + seconds
    for fresh in (False, True):
        if fresh:
            if not scene.side.held():
                return
            scene.worker(wait=False)
        quiet_for, begun, since = scene.visibility + 1.5, -1, time.monotonic()
        while time.monotonic() < deadline:
            if scene.effect_count() >= len(scene.expected) and not scene.side.held():
                return
            scene.supervise()
            now = scene.store.began_count()
            if now != begun:
                begun, since = now, time.monotonic()
            if time.monotonic() - since > quiet_for:
                break
            time.sleep(0.1)


def _until_done(scene: Scene, deadline: float) -> bool:
    looked = 0.0
    while True:
        now = time.monotonic()
        wanted = len(scene.expected - scene.failing)
        if scene.effect_count() >= wanted and now - looked >= LOOK_AT_DEAD_EVERY:
            looked = now
            if scene.count().lost == 0:
                return True
        if now > deadline:
            return False
        scene.supervise()
        time.sleep(0.02)
