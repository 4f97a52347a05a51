"""The demo as `python3 dev.py demo` runs it: real processes, and nothing of them left."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from celeriac.testing.server import EmbeddedServer

ROOT = Path(__file__).parents[2]

# Each test starts a dozen processes.
pytestmark = pytest.mark.timeout(300)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "devtools.demo", *arguments]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Without settings of the caller, and with a directory of its own for temporary files."""
    bare = {k: v for k, v in os.environ.items() if not k.startswith(("CELERIAC_", "FLOWER_"))}
    return {**bare, "TMPDIR": str(tmp_path)}


def until(holds: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain for {what}"
        time.sleep(0.05)


def test_every_order_is_accounted_for(environment: dict[str, str], tmp_path: Path) -> None:
    """Of 60 orders one has a card that is dead, and six find the gateway down twice.

    51 are sent. Nine are aborted and undone, the one with the dead card at its deadline.
    """
    ran = subprocess.run(
        command("--events", "60", "--exit", "--json"),
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert told["emitted"] == 60
    assert told["missing"] == told["in_flight"] == 0
    assert told["dead"] == told["expected_dead"] == 1
    assert told["retried"] == 12
    assert told["processed"] == told["expected"] - 1
    # 10 events of an order that is sent; 6 if it is declined, 11 if it is sold out, 14 if its item
    # is damaged, 6 if it is not paid in time. The timer's event is for the process alone.
    assert told["events"] == 51 * 10 + 3 * 6 + 3 * 11 + 2 * 14 + 6
    assert told["orders"] == {
        "open": 0,
        "completed": 51,
        "aborted": 9,
        "outbox": 0,
        "reasons": {
            "payment declined: insufficient funds": 3,
            "item unavailable: sold out": 3,
            "item unavailable: damaged": 2,
            "not paid in time": 1,
        },
    }
    counts = ("kept", "undone", "prevented")
    assert {name: [it[count] for count in counts] for name, it in told["accounts"].items()} == {
        "payments": [51, 5, 4],
        "reservations": [51, 2, 3],
    }
    assert {name: it["processed"] for name, it in told["handlers"].items()} == {
        "analytics.count_events": 594,
        "billing.charge_card": 59,
        "billing.refund_payment": 9,
        # placed, paid or declined, sent, cancelled, refunded
        "notifications.send_mail": 60 + 59 + 51 + 9 + 5,
        # placed, paid or declined, reserved or sold out, sent or damaged, and the timer
        "orders.fulfilment": 60 + 59 + 56 + 53 + 1,
        "shipping.release_stock": 5,
        "shipping.reserve_stock": 56,
        "shipping.send_parcel": 53,
    }
    assert not list(tmp_path.iterdir())


def test_the_end_shows_an_order_that_is_sent_and_one_that_is_undone(
    environment: dict[str, str],
) -> None:
    """Up to order 19, whose item is damaged, no card is dead: no deadline passes.

    Whichever process began first, the order that it completed is shown.
    """
    ran = subprocess.run(
        command("--events", "19", "--exit"),
        cwd=ROOT,
        env={**environment, "COLUMNS": "80"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert ran.returncode == 0, ran.stderr
    assert max(map(len, ran.stdout.splitlines())) <= 80
    lines = [" ".join(line.split()) for line in ran.stdout.splitlines()]
    [sent] = [n for n, line in enumerate(lines) if re.fullmatch(r"order/\d+ is completed", line)]
    assert lines[sent + 2 :][:4] == [
        "order.placed → order.accepted, payment.requested",
        "payment.captured → order.paid, stock.requested",
        "stock.reserved → shipment.requested",
        "shipment.sent → order.completed",
    ]
    undone = lines.index("order/19 is aborted: item unavailable: damaged")
    assert " ".join(lines[undone + 5 :][:2]) == (
        "shipment.failed → stock.release_requested, payment.refund_requested, order.cancelled"
    )
    assert "payments 16 2 1" in lines and "reservations 16 1 1" in lines
    assert lines[-1] == "✓ every delivery and every undo is accounted for"


def test_a_server_of_the_user_is_left_as_it_was(
    environment: dict[str, str], redis_server: EmbeddedServer
) -> None:
    """Queues of the same names included: their messages are another program's."""
    url = redis_server.url.removesuffix("/0") + "/7"
    client = redis.Redis.from_url(url)
    client.rpush("billing", "a message of another application")
    client.set("celeriac:handlers", "of another bus")
    ran = subprocess.run(
        command("--events", "10", "--exit", "--json"),
        cwd=ROOT,
        env={**environment, "CELERIAC_REDIS_URL": url},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["emitted"] == 10
    assert sorted(client.keys()) == [b"billing", b"celeriac:handlers"]
    assert client.lrange("billing", 0, -1) == [b"a message of another application"]


@pytest.fixture
def endless(environment: dict[str, str], tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A demo that has placed its first orders."""
    with subprocess.Popen(
        command(),
        cwd=ROOT,
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as demo:
        try:
            assert demo.stderr is not None
            assert any(re.match(r"demo: \d+ orders", line) for line in demo.stderr)
            yield demo
        finally:
            demo.kill()


def test_ctrl_c_ends_it_with_a_summary(endless: subprocess.Popen[str], tmp_path: Path) -> None:
    endless.send_signal(signal.SIGINT)
    said, _ = endless.communicate(timeout=90)
    assert endless.returncode == 0
    assert "✓" in said
    assert not list(tmp_path.iterdir())


def test_the_story_of_the_readme_a_fault_is_repaired_and_dead_letters_are_redriven(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """On a terminal: one letter is dead, `f` repairs the gateway, the line for another terminal
    leads to the CLI, the redriven letter is processed, `q` ends the demo."""
    ours, theirs = pty.openpty()
    demo = subprocess.Popen(
        command("--events", "50"),
        cwd=ROOT,
        env={**environment, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"},
        stdin=theirs,
        stderr=theirs,
        stdout=subprocess.PIPE,
        text=True,
    )
    reader = threading.Thread(target=drain, args=(ours,), daemon=True)
    reader.start()
    try:
        until(lambda: bool(list(tmp_path.glob("celeriac-demo-*/env"))), 90, "the line to be there")
        (shell,) = tmp_path.glob("celeriac-demo-*/env")
        assert 0o600 == shell.stat().st_mode & 0o777

        def dead() -> int:
            return len(json.loads(run_in_shell(shell, "celeriac dead list --json")))

        until(lambda: dead() == 1, 90, "the dead letter")
        os.write(ours, b"f")
        repaired = "python -c 'from handlers.gateway import is_repaired; print(is_repaired())'"
        until(lambda: run_in_shell(shell, repaired) == "True\n", 90, "the repair")
        assert "1 dead letter redriven" in run_in_shell(shell, "celeriac dead redrive --all --yes")
        until(lambda: processed_by_billing(shell) == 50, 90, "the redriven order")
        assert 0 == dead()
        os.write(ours, b"q")
        said, _ = demo.communicate(timeout=90)
        assert (0, True) == (demo.returncode, "✓ every delivery" in said)
    finally:
        demo.kill()
        demo.wait()
        os.close(theirs)
        os.close(ours)


def drain(terminal: int) -> None:
    """Read what the demo draws, so that it never waits for the terminal."""
    with contextlib.suppress(OSError):
        while os.read(terminal, 65536):
            pass


def run_in_shell(shell: Path, line: str) -> str:
    bare = {"PATH": "/usr/bin:/bin", "HOME": os.environ.get("HOME", "/")}
    done = subprocess.run(
        ["sh", "-c", f". {shell} >/dev/null; {line}"],
        env=bare,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def processed_by_billing(shell: Path) -> int:
    lags = json.loads(run_in_shell(shell, "celeriac lag --json"))
    return sum(lag["processed"] for lag in lags if lag["handler"] == "billing.charge_card")


def test_nothing_is_left_of_it_after_kill_9(endless: subprocess.Popen[str], tmp_path: Path) -> None:
    """No process and no file."""
    begun = [pid for pid in processes() if str(tmp_path) in environ(pid)]
    assert len(begun) > 10
    endless.kill()
    until(lambda: not set(begun) & set(processes()), 60, "its processes to end")
    until(lambda: not list(tmp_path.iterdir()), 60, "its files to be gone")


def processes() -> list[int]:
    return [
        int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit() and alive(path)
    ]


def alive(path: Path) -> bool:
    try:
        return path.joinpath("stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def environ(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/environ").read_text(errors="replace")
    except OSError:
        return ""


def stdout(pid: int) -> Path:
    return Path(f"/proc/{pid}/fd/1").resolve()


def test_flower_takes_the_next_free_port(environment: dict[str, str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ran = subprocess.run(
            command("--events", "1", "--exit", "--json", "--port", str(port)),
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=200,
        )
    flower = json.loads(ran.stdout)["flower"]
    assert int(flower.rpartition(":")[2]) > port


def test_events_continue_without_flower(endless: subprocess.Popen[str], tmp_path: Path) -> None:
    (directory,) = tmp_path.glob("celeriac-demo-*")
    (log,) = directory.glob("flower.log")
    pids = [pid for pid in processes() if str(tmp_path) in environ(pid) and stdout(pid) == log]
    assert len(pids) == 1
    os.kill(pids[0], signal.SIGKILL)
    until(
        lambda: "flower ended" in (directory / "services.log").read_text(),
        60,
        "the group to see it",
    )
    time.sleep(0.5)
    assert endless.poll() is None
