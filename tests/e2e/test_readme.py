"""The README's example runs as it is; `run_workers` and `start_server` leave nothing behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

README = (Path(__file__).parents[2] / "README.md").read_text()
BEGINNING = """\
import os, signal, time
from celeriac import Event, EventBus
from celeriac.testing import WorkerFailed, run_workers, start_server

server = start_server()
bus = EventBus(service="shop", redis_url=server.url)
"""


def run(source: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run a script in a process of its own, with temporary files in `directory`/tmp."""
    (directory / "tmp").mkdir()
    script = directory / "example.py"
    script.write_text(source)
    bare = {name: value for name, value in os.environ.items() if not name.startswith("CELERIAC_")}
    return subprocess.run(
        [sys.executable, str(script)],
        cwd=directory, env={**bare, "TMPDIR": str(directory / "tmp")},
        capture_output=True, text=True, timeout=100,
    )  # fmt: skip


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_example_prints_what_the_readme_shows(tmp_path: Path) -> None:
    [example, output] = re.findall(
        r"```python\n(# example\.py\n.*?)```\n\n```\n(.*?)```", README, re.S
    )[0]
    assert len([line for line in example.splitlines() if line]) <= 20
    ran = run(example, tmp_path)
    assert (0, output, "") == (ran.returncode, ran.stdout, ran.stderr)
    assert [] == list((tmp_path / "tmp").iterdir())


def test_idle_is_after_retries_and_their_last_attempt(tmp_path: Path) -> None:
    source = f"""{BEGINNING}
@bus.on("order.placed", retries=2, backoff=0.2, jitter=0)
def fail(event: Event[dict]) -> None:
    print("attempt")
    raise ValueError("no")

with run_workers(bus) as workers:
    bus.emit("order.placed", {{}})
    workers.wait_until_idle()
    print("idle")
"""
    ran = run(source, tmp_path)
    assert (0, "attempt\nattempt\nattempt\nidle\n") == (ran.returncode, ran.stdout)


def test_a_worker_that_ends_is_reported(tmp_path: Path) -> None:
    source = f"""{BEGINNING}
@bus.on("order.placed")
def kill(event: Event[dict]) -> None:
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(10)

with run_workers(bus) as workers:
    bus.emit("order.placed", {{}})
    try:
        workers.wait_until_idle()
    except WorkerFailed as error:
        print(error)
"""
    ran = run(source, tmp_path)
    assert (0, "the worker of shop ended; its output has the reason\n") == (
        ran.returncode, ran.stdout,
    )  # fmt: skip


def test_workers_end_with_a_killed_parent(tmp_path: Path) -> None:
    source = f"""{BEGINNING}
@bus.on("order.placed")
def show(event: Event[dict]) -> None:
    print(os.getpid(), os.getppid(), flush=True)

with run_workers(bus) as workers:
    bus.emit("order.placed", {{}})
    workers.wait_until_idle()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    ran = run(source, tmp_path)
    assert -signal.SIGKILL == ran.returncode
    pids = [int(pid) for pid in ran.stdout.split()]
    deadline = time.monotonic() + 60
    while any(map(is_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(pids) == 2 and not any(map(is_alive, pids))
