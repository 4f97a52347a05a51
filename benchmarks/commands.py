"""The commands that start each candidate's worker, as its documentation recommends."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

from benchmarks.measurement import Candidate
from celeriac.testing.ports import free_port

BIN = Path(sys.executable).parent


def command(candidate: Candidate, name: str) -> list[str]:
    """Return the command of a worker. `name` is the worker's name, if the candidate needs one."""
    peer, n = candidate.peer, str(candidate.processes)
    module = f"benchmarks.peers.{peer}"
    if peer in ("celeriac", "celeriac_typed", "celery", "celery_topic"):
        return [
            *(sys.executable, "-m", "celery", "-A", module, "worker", "-P", candidate.pool),
            *("-c", n, "-n", f"{name}@%h", "--loglevel", "warning"),
            *("--without-mingle", "--without-gossip"),
            *(("-E",) if candidate.options.get("BENCH_TASK_EVENTS") else ()),
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


def watching(candidate: Candidate) -> list[str]:
    """Return the command that monitors a Celery app: Flower, or without it Celery's receiver."""
    module = f"benchmarks.peers.{candidate.peer}"
    if find_spec("flower") is not None:
        return [
            *(sys.executable, "-m", "celery", "-A", module, "flower"),
            *("--address=127.0.0.1", f"--port={free_port()}", "--logging=error"),
        ]
    return [sys.executable, "-m", "benchmarks.watch", module]
