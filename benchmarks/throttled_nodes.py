"""`python -m benchmarks.throttled_nodes`: events/s of one, two and three nodes, each 6 % of a core.

A machine of two cores cannot show that three nodes do more than one: their clients need the cores.
So each node is stopped for most of the time (SIGSTOP), which makes nodes the limit, as they are on
machines of their own. Twelve clients emit, fetch, claim and complete, each in a domain of its own.
Each goes as fast as its own node lets it, so that the model expects as many times the events as
there are nodes. Prints JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from benchmarks.cluster_costs import CHUNK, DOMAINS, Stage
from devtools.cluster import start_cluster

RUN, REST = 0.003, 0.047
SECONDS = 6.0


@contextmanager
def slowed(pids: Sequence[int]) -> Iterator[None]:
    """Within, each of the processes runs for RUN of every RUN + REST seconds."""
    ended = threading.Event()

    def all_of(number: int) -> None:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def throttle() -> None:
        while not ended.wait(RUN):
            all_of(signal.SIGSTOP)
            ended.wait(REST)
            all_of(signal.SIGCONT)

    thread = threading.Thread(target=throttle, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        all_of(signal.SIGCONT)


def events_per_second(nodes: int) -> float:
    """Handled by all clients together."""
    with tempfile.TemporaryDirectory() as folder, start_cluster(folder, masters=nodes) as cluster:
        stages = [Stage(cluster, [domain]) for domain in DOMAINS]
        for stage in stages:  # loads the scripts
            stage.append()
            stage.deliver()
        handled, until = [0] * len(stages), time.monotonic() + SECONDS

        def work(number: int) -> None:
            while time.monotonic() < until:
                stages[number].append()
                stages[number].deliver()
                handled[number] += CHUNK

        threads = [threading.Thread(target=work, args=(number,)) for number in range(len(stages))]
        with slowed([node.pid for node in cluster.masters]):
            started = time.monotonic()
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return sum(handled) / (time.monotonic() - started)


def main() -> int:
    rates = {nodes: round(events_per_second(nodes)) for nodes in (1, 2, 3)}
    ratios = {nodes: round(rate / rates[1], 2) for nodes, rate in rates.items()}
    print(json.dumps({"events/s": rates, "times one node": ratios}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
