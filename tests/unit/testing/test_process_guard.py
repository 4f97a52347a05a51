"""A guarded process and its children end with its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from celeriac.testing import process_guard
from celeriac.testing.process_guard import guarded_popen

COMMAND = (sys.executable, "-I", "-S", process_guard.__file__)
# A shell with a grandchild that SIGTERM does not end. It ends the shell itself as soon as the file
# is there, not a moment later.
FAMILY = "trap '' TERM; sleep 60 & echo $! > {0}.part; trap - TERM; mv {0}.part {0}; wait"


def alive(pid: int) -> bool:
    """Return whether the process runs; an uncollected zombie does not."""
    if Path("/proc/self/stat").exists():
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def until(condition: Callable[[], bool], seconds: float = 30.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


@pytest.fixture
def family(tmp_path: Path) -> Path:
    return tmp_path / "grandchild"


def grandchild_of(family: Path) -> int:
    assert until(family.exists)
    return int(family.read_text())


@pytest.mark.parametrize("status", [0, 3])
def test_the_exit_status_is_the_command_s(status: int) -> None:
    with guarded_popen(["/bin/sh", "-c", f"exit {status}"]) as process:
        assert status == process.wait(30)


def test_death_by_a_signal_is_passed_on_as_such() -> None:
    with guarded_popen(["/bin/sh", "-c", "kill -KILL $$"]) as process:
        assert process.wait(30) == -signal.SIGKILL


def test_pid_is_the_command_s_own_and_leads_its_group() -> None:
    with guarded_popen(["/bin/sh", "-c", "echo $$"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.pid == int(process.stdout.readline())
    with guarded_popen(["sleep", "60"]) as process:
        assert process.pid == os.getpgid(process.pid)


def test_a_command_that_does_not_exist_is_an_error_at_once() -> None:
    with pytest.raises(OSError, match=r"no-such-command could not be started"):
        guarded_popen(["no-such-command"], stderr=subprocess.DEVNULL)


def test_terminate_lets_the_command_end_in_its_own_way() -> None:
    command = ["/bin/sh", "-c", "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done"]
    with guarded_popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.terminate()
        assert process.wait(30) == 7


def test_stop_kills_what_does_not_end_within_the_grace() -> None:
    command = ["/bin/sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done"]
    with guarded_popen(command, stdout=subprocess.PIPE, grace=0.1) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        assert process.stop() == -signal.SIGKILL


def test_kill_group_takes_the_grandchildren(family: Path) -> None:
    with guarded_popen(["/bin/sh", "-c", FAMILY.format(family)]) as process:
        grandchild = grandchild_of(family)
        process.kill_group()
        assert process.wait(30) == -signal.SIGKILL
    assert until(lambda: not alive(grandchild))


def test_what_a_killed_command_leaves_behind_is_killed_too(family: Path) -> None:
    with guarded_popen(["/bin/sh", "-c", FAMILY.format(family)]) as process:
        grandchild = grandchild_of(family)
        process.send_signal(signal.SIGKILL)
        assert process.wait(30) == -signal.SIGKILL
    assert until(lambda: not alive(grandchild))


def test_the_end_of_stdin_ends_the_command_and_its_grandchildren(family: Path) -> None:
    command = [*COMMAND, "/bin/sh", "-c", FAMILY.format(family)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        grandchild = grandchild_of(family)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(30) == -signal.SIGTERM
    assert until(lambda: not alive(grandchild))


def test_after_the_end_of_stdin_the_grace_is_bounded() -> None:
    script = "trap '' TERM; echo ready; while :; do sleep 0.05; done"
    command = [*COMMAND, "--grace", "0.1", "/bin/sh", "-c", script]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None and process.stdin is not None
        assert process.stdout.readline() == b"ready\n"
        process.stdin.close()
        assert process.wait(30) == -signal.SIGKILL


def test_a_killed_parent_takes_the_command_with_it(family: Path) -> None:
    script = (
        "from celeriac.testing.process_guard import guarded_popen\n"
        f"guarded_popen(['/bin/sh', '-c', {FAMILY.format(family)!r}], grace=60).wait()"
    )
    with subprocess.Popen([sys.executable, "-c", script]) as parent:
        grandchild = grandchild_of(family)
        parent.kill()
    assert until(lambda: not alive(grandchild), 30), "without waiting for the grace"


def test_a_fork_that_keeps_the_pipe_open_does_not_keep_the_command_alive(family: Path) -> None:
    script = (
        "import os, time\n"
        "from celeriac.testing.process_guard import guarded_popen\n"
        f"process = guarded_popen(['/bin/sh', '-c', {FAMILY.format(family)!r}], grace=60)\n"
        "fork = os.fork()\n"
        "if fork: print(fork, flush=True)\n"
        "time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        fork = int(parent.stdout.readline())
        try:
            grandchild = grandchild_of(family)
            parent.kill()
            parent.wait()
            assert until(lambda: not alive(grandchild), 30), "without waiting for the grace"
        finally:
            os.kill(fork, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_guard_forwards_signals(number: signal.Signals) -> None:
    script = f"import signal, time; signal.signal({int(number)}, lambda n, f: exit(9)); "
    script += "print('ready', flush=True); time.sleep(60)"
    command = [*COMMAND, sys.executable, "-c", script]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(number)
        assert process.wait(30) == 9


def test_a_parent_that_died_before_the_guard_looked_is_noticed(family: Path) -> None:
    """Another process holds its pipe open, so that only the parent's pid reveals its death."""
    with subprocess.Popen(["/bin/true"]) as gone:
        gone.wait()
    command = [*COMMAND, "--parent", str(gone.pid), "/bin/sh", "-c", FAMILY.format(family)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        assert process.wait(30) == -signal.SIGTERM
