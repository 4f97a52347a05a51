"""The processes of the demo after its death."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[3]
DEMO = """
import os, sys, time
from pathlib import Path
from devtools.demo import service_processes

directory = Path(sys.argv[1])

def write(service: str, processes: int) -> int:
    number = 0
    while True:
        try:
            (directory / str(number)).touch()
        except OSError:
            time.sleep(0.01)
        number += 1

service_processes.BEFORE_FORK = ()
service_processes._work = write
service_processes.ServiceProcesses(service_processes.Plan(directory, {"writer": 1}, None))
while not (directory / "0").exists():
    time.sleep(0.01)
os._exit(0)
"""


def test_the_directory_is_removed_while_a_process_writes_into_it(tmp_path: Path) -> None:
    """As after `kill -9` of the demo."""
    directory = tmp_path / "demo"
    directory.mkdir()
    subprocess.run([sys.executable, "-c", DEMO, directory], cwd=ROOT, check=True, timeout=60)
    deadline = time.monotonic() + 60
    while directory.exists():
        assert time.monotonic() < deadline, "the directory is still there"
        time.sleep(0.05)
