"""Processes that were killed, and when they are dead."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from devtools.faults.worker import until_dead

SLEEP = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]


def test_a_killed_process_is_waited_for_until_it_runs_nothing_more() -> None:
    """Being dead is enough: no process waits for it here."""
    process = subprocess.Popen(SLEEP)
    try:
        os.kill(process.pid, signal.SIGKILL)
        until_dead([process.pid])
    finally:
        process.kill()
        assert process.wait(10) == -signal.SIGKILL
    until_dead([process.pid])


def test_a_process_that_lives_on_is_named() -> None:
    with pytest.raises(TimeoutError, match=str(os.getpid())):
        until_dead([os.getpid()], seconds=0.0)
