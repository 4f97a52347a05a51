"""Forks a Celery worker for each line of a pipe: what takes a second to import is there before.

A line is a JSON object: the worker's `arguments`, `environment`, `directory` and `log`. Next to the
log lie its `.pid`, and its `.status` once it has ended. All workers are in this process's group.
"""

from __future__ import annotations

import json
import os
import select
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

MODULES = (
    "celery.__main__", "celery.bin.celery", "celery.apps.worker", "celery.backends.redis",
    "celery.concurrency.prefork", "celery.concurrency.solo", "celery.concurrency.thread",
    "celery.fixups.django", "celery.loaders.app", "celery.worker.consumer", "celery.worker.control",
    "celery.worker.strategy", "celeriac.bus", "celeriac.worker",
    "celeriac.worker.request", "kombu.transport.redis", "redis",
)  # fmt: skip


def main(fifo: str) -> None:
    for name in MODULES:
        import_module(name)
    # Open for both, so that it has no end.
    requests, read = os.open(fifo, os.O_RDWR), b""
    logs: dict[int, Path] = {}
    while True:
        if select.select([requests], [], [], 0.05)[0]:
            *lines, read = (read + os.read(requests, 65536)).split(b"\n")
            for request in map(json.loads, lines):
                pid = os.fork()
                if pid == 0:
                    work(request)
                logs[pid] = Path(request["log"])
                write(logs[pid].with_suffix(".pid"), pid)
        while logs and (ended := os.waitpid(-1, os.WNOHANG))[0]:
            status = os.waitstatus_to_exitcode(ended[1])
            write(logs.pop(ended[0]).with_suffix(".status"), status)


def write(path: Path, number: int) -> None:
    """In one moment, so that it is never read half."""
    new = path.with_name(f"{path.name}.new")
    new.write_text(str(number))
    new.replace(path)


def work(request: dict[str, Any]) -> None:
    out = os.open(request["log"], os.O_WRONLY | os.O_CREAT)
    for stream in (1, 2):
        os.dup2(out, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(request["directory"])
    os.environ.update(request["environment"])
    sys.argv = ["celery", *request["arguments"]]
    if "gevent" in sys.argv:  # patches what others would have imported before
        os.execv(sys.executable, [sys.executable, "-m", *sys.argv])
    sys.path.insert(0, request["environment"]["PYTHONPATH"])
    from celery.__main__ import main as celery

    celery()
    sys.exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
