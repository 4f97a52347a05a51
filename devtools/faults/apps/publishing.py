"""A publisher that is killed in the middle, again and again.

Run it as `publishing SIDE URL one|many ROUNDS SEED`.

In each round a forked child publishes the round's ids and is killed somewhere in the middle; then
the round is published again from the first id that the child had not confirmed, or, with `many`,
from the start of the call that was cut off. A round begins when the last one's effects are there,
so that no backlog grows. In the end all ids and the number of kills that hit are on stdout, as
JSON.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Sequence

import msgspec

from devtools.faults.apps.handlers import store
from devtools.faults.system import CeleriacSystem, CelerySystem, System, handlers_of

TYPE = "fan.out"
SYSTEMS: dict[str, type[CeleriacSystem] | type[CelerySystem]] = {
    "celeriac": CeleriacSystem,
    "stock": CelerySystem,
}
OF_ONE, OF_MANY, AT_A_TIME = 30, 60, 20
CAUGHT_UP_WITHIN = 5.0  # seconds; then the next round begins all the same


def main(system: str, url: str, mode: str, rounds: str, seed: str) -> int:
    chance = random.Random(int(seed))
    many = mode == "many"
    everything: list[str] = []
    killed = 0
    for n in range(int(rounds)):
        ids = [f"{n:03d}-{m:04d}-{seed}" for m in range(OF_MANY if many else OF_ONE)]
        parts = [ids[i : i + AT_A_TIME] for i in range(0, len(ids), AT_A_TIME)]
        calls = parts if many else [[id] for id in ids]
        confirmed, hit = _killed_in_the_middle(system, url, calls, chance)
        killed += hit
        again = SYSTEMS[system](url, url, 3.0)
        for call in calls[confirmed:]:
            again.publish(TYPE, call)
        everything += ids
        _catch_up(len(everything) * len(handlers_of(TYPE)))
    sys.stdout.buffer.write(msgspec.json.encode((everything, killed)))
    return 0


def _catch_up(deliveries: int) -> None:
    deadline = time.monotonic() + CAUGHT_UP_WITHIN
    while store().effect_count() < deliveries and time.monotonic() < deadline:
        time.sleep(0.02)


def _killed_in_the_middle(
    system: str, url: str, calls: Sequence[Sequence[str]], chance: random.Random
) -> tuple[int, bool]:
    """How many calls were confirmed by the one who was killed, and whether it died of that."""
    reader, writer = os.pipe()
    child = os.fork()  # it touches no store, so the connection to it is not shared
    if not child:
        os.close(reader)
        _publish(SYSTEMS[system](url, url, 3.0), calls, writer)
    os.close(writer)
    with open(reader, "rb") as confirmed:
        # The first is confirmed once there is a connection; the rest takes milliseconds.
        count = len(confirmed.read(1))
        time.sleep(chance.uniform(0, 0.005))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        count += len(confirmed.read())
    return count, os.WIFSIGNALED(status)


def _publish(system: System, calls: Sequence[Sequence[str]], confirm: int) -> None:
    status = 1
    try:
        for call in calls:
            system.publish(TYPE, call)
            os.write(confirm, b".")
        status = 0
    finally:
        os._exit(status)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
