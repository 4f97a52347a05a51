"""How each peer's worker is started, as its own documentation says."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

from benchmarks.measurement import Contestant
from celeriac.testing.ports import free_port

BIN = Path(sys.executable).parent


def command(contestant: Contestant, name: str) -> list[str]:
    """`name` is the worker's, where the peer wants one."""
    peer, n = contestant.peer, str(contestant.processes)
    module = f"benchmarks.peers.{peer}"
    if peer in ("celeriac", "celery", "celery_topic"):
        return [
            *(sys.executable, "-m", "celery", "-A", module, "worker", "-P", contestant.pool),
            *("-c", n, "-n", f"{name}@%h", "--loglevel", "warning"),
            *("--without-mingle", "--without-gossip"),
            *(("-E",) if contestant.options.get("BENCH_TASK_EVENTS") else ()),
        ]
    if peer == "dramatiq":
        return [str(BIN / "dramatiq"), module, "-p", n, "-t", "8"]
    if peer == "taskiq":
        return [
            str(BIN / "taskiq"),
            "worker",
            f"{module}:broker",
            "-w",
            n,
            "--log-level",
            "WARNING",
        ]
    if peer == "faststream":
        return [str(BIN / "faststream"), "run", f"{module}:app", "--workers", n]
    if peer == "huey":
        return [str(BIN / "huey_consumer"), f"{module}.huey", "-k", "process", "-w", n, "-q"]
    raise ValueError(f"{peer} has no worker")


def watching(contestant: Contestant) -> list[str]:
    """Whoever watches a Celery app: Flower where it is installed, else what Flower stands on."""
    module = f"benchmarks.peers.{contestant.peer}"
    if find_spec("flower") is not None:
        return [
            *(sys.executable, "-m", "celery", "-A", module, "flower"),
            *("--address=127.0.0.1", f"--port={free_port()}", "--logging=error"),
        ]
    return [sys.executable, "-m", "benchmarks.watch", module]
