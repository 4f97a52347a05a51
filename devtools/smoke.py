"""Run one event through an installed celeriac: a new service, an embedded server, a real worker.

`python3 dev.py release` runs this with the wheel in a clean environment. It imports nothing from
the repository.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from celeriac import __version__
from celeriac.testing.server import start_server

PATIENCE_S = 60.0


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        celeriac("init", "shop", "--directory", directory)
        project = Path(directory, "shop")
        with start_server(Path(directory, "server")) as server:
            os.environ["CELERIAC_REDIS_URL"] = server.url
            worker = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", "shop", "worker", "-c", "1"], cwd=project
            )
            try:
                wait_for("a worker", lambda: json.loads(celeriac("workers", "--json")))
                placing = [sys.executable, "-m", "shop", "42", "1990"]
                event = subprocess.check_output(placing, cwd=project, text=True).strip()
                wait_for("the delivery", lambda: is_processed(event))
                assert json.loads(celeriac("doctor", "--json"))["healthy"]
            finally:
                worker.terminate()
                worker.wait(PATIENCE_S)
    print(f"celeriac {__version__} delivered an event")


def is_processed(event: str) -> bool:
    (event_status,) = json.loads(celeriac("status", event, "--json"))
    return [cell["state"] for cell in event_status["cells"]] == ["processed"]


def celeriac(*arguments: str) -> str:
    command = [str(Path(sys.executable).with_name("celeriac")), *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def wait_for(what: str, condition: Any) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what} did not arrive within {PATIENCE_S:.0f} s")
        time.sleep(0.2)


if __name__ == "__main__":
    main()
