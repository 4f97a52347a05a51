"""The files that one delivery passes through, which a reader must know to follow it."""

from __future__ import annotations

import re
import subprocess
import sys

MAX_FILES = 82


def test_the_path_of_a_delivery_has_a_bounded_number_of_files() -> None:
    """A split that lengthens the path must merge other files of it, or raise the number here and
    in CONTRIBUTING."""
    command = [sys.executable, "-m", "devtools.delivery_path"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    count = re.search(r"^(\d+) files: ", done.stdout, re.MULTILINE)
    assert count, done.stdout + done.stderr
    # Without these the worker did not run the event, and the number means nothing.
    assert {"dispatcher/dispatcher.py", "executor/work.py", "worker/tasks.py"} <= {
        line.split()[-1] for line in done.stdout.splitlines() if line
    }
    assert int(count[1]) <= MAX_FILES, done.stdout
