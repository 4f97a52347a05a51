"""celeriac watch: what is sent, how often, and where."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis

from celeriac.cli.doctor.finding import fail, ok, warn
from celeriac.cli.watch.alert import Alert, Alerts, alerts_of
from celeriac.store.memory.clock import MemoryClock
from tests.unit.cli.conftest import Run, refuse
from tests.unit.tracking.shop import Shop

# Apprise imports what Python 3.13 no longer has, and does without it there.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
LATE = Alert(key="lag", level="warn", text="lag: 3 min behind")
WORSE = msgspec.structs.replace(LATE, level="fail", text="lag: 9 min behind")


def sent(alerts: Alerts, *found: Alert, now: float = 0.0) -> tuple[list[str], list[str]]:
    """The texts of what a look sends, and of what it reports as over."""
    changes = alerts.update(found, now)
    alerts.sent(changes, now)
    new = [one.text for one in (*changes.new, *changes.repeated)]
    return new, [one.text for one in changes.recovered]


# -- which alerts are sent


def test_an_alert_is_sent_once_and_its_end_once() -> None:
    alerts = Alerts(after=1)
    assert ([LATE.text], []) == sent(alerts, LATE)
    assert ([], []) == sent(alerts, LATE)
    assert ([], [LATE.text]) == sent(alerts)
    assert ([], []) == sent(alerts)
    assert ([LATE.text], []) == sent(alerts, LATE)


def test_it_must_be_there_and_be_gone_for_several_looks() -> None:
    alerts = Alerts(after=2)
    assert ([], []) == sent(alerts, LATE)
    assert ([], []) == sent(alerts), "it was there for one look only"
    assert ([], []) == sent(alerts, LATE)
    assert ([LATE.text], []) == sent(alerts, LATE)
    assert ([], []) == sent(alerts)
    assert ([], []) == sent(alerts, LATE), "it was gone for one look only"
    assert ([], []) == sent(alerts)
    assert ([], [LATE.text]) == sent(alerts)


def test_one_that_gets_worse_is_sent_again_and_one_that_gets_better_is_not() -> None:
    alerts = Alerts(after=1)
    sent(alerts, LATE)
    assert ([WORSE.text], []) == sent(alerts, WORSE)
    assert ([], []) == sent(alerts, WORSE)
    assert ([], []) == sent(alerts, LATE)


def test_a_lasting_alert_is_repeated_only_with_repeat() -> None:
    alerts = Alerts(after=1, repeat_s=100)
    sent(alerts, LATE, now=0)
    assert ([], []) == sent(alerts, LATE, now=99)
    assert ([LATE.text], []) == sent(alerts, LATE, now=100)
    assert ([], []) == sent(alerts, LATE, now=150)


def test_what_could_not_be_sent_is_sent_at_the_next_look() -> None:
    alerts = Alerts(after=1)
    assert alerts.update([LATE], 0).new
    assert alerts.update([LATE], 1).new, "`sent` was not called"
    alerts.sent(alerts.update([LATE], 2), 2)
    assert alerts.update([], 3).recovered
    assert alerts.update([], 4).recovered


def test_a_look_without_redis_ends_no_alert() -> None:
    alerts = Alerts(after=1)
    sent(alerts, LATE)
    away = Alert(key="redis", level="fail", text="away")
    changes = alerts.update([away], 1, is_partial=True)
    assert ([away], []) == (changes.new, changes.recovered)


def test_findings_that_differ_in_numbers_are_one_alert() -> None:
    first, second = (
        alerts_of([warn("dead", f"{n:,} dead letters in order", "x"), ok("log", "fine")], "warn")
        for n in (3, 1_204)
    )
    assert [first[0].key] == [second[0].key]
    ages = [alerts_of([fail("worker", f"mail: oldest {age}", "")], "fail")[0].key
            for age in ("12 s", "3 min", "850 ms")]  # fmt: skip
    assert 1 == len(set(ages))
    assert [] == alerts_of([warn("dead", "3 dead letters", "x")], "fail")


# -- the rules


def test_dead_letters_of_a_type_are_a_rule(shop: Shop, run: Run) -> None:
    shop.on("billing.charge", "order.*", retries=0, function=refuse)
    shop.start()
    shop.emit("order.placed")
    shop.run_until_idle()
    two = ("watch", "--once", "--dead", "order.placed=2", "--dead", "order.paid")
    assert "dead letter" not in run(*two).out
    shop.emit("order.placed")
    shop.run_until_idle()
    out = run(*two).out
    assert "fail: 2 dead letters of order.placed" in out
    assert "→ celeriac dead list --type 'order.placed'" in out


def test_lag_and_missing_workers_are_rules(shop: Shop, run: Run, clock: MemoryClock) -> None:
    shop.on("billing.charge", "order.*")
    shop.start()
    shop.emit("order.placed")
    clock.advance(20_000)
    out = run("watch", "--once", "--lag", "billing.*=10", "--lag", "mail.*=1").out
    assert "billing.charge is 20 s behind in order: 1 unfinished event" in out
    assert "mail" not in out
    assert "billing.charge is" not in run("watch", "--once", "--lag", "*=30").out
    gone = run("watch", "--once", "--workers", "billing=1", "--workers", "mail=2").out
    assert "mail has 0 of 2 workers" in gone
    assert "billing has 0 of 1 worker" in gone, "its last heartbeat is 20 s old"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--dead", "order..x"), "--dead"),
        (("--dead", "order.*=x"), "a number above 0"),
        (("--lag", "10"), "Write NAME=NUMBER"),
        (("--workers", "billing=0"), "a number above 0"),
        (("--to", "nothing://"), "not a URL of Apprise"),
    ],
)
def test_wrong_rules_and_urls_are_refused(
    run: Run, arguments: tuple[str, ...], message: str
) -> None:
    answer = run("watch", "--once", *arguments)
    assert 2 == answer.exit_code
    assert message in answer.err


# -- notices


@pytest.fixture
def inbox() -> Iterator[tuple[str, list[Any], list[int]]]:
    """The URL of a server for notices, what it got, and the statuses that it answers with next."""
    got: list[Any] = []
    statuses: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(statuses.pop(0) if statuses else 200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"json://127.0.0.1:{server.server_port}", got, statuses
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_notification_is_sent_once_across_restarts_and_again_on_recovery(
    shop: Shop, run: Run, tmp_path: Path, inbox: tuple[str, list[Any], list[int]]
) -> None:
    url, got, statuses = inbox
    shop.on("billing.charge", "order.*", retries=0, function=refuse)
    shop.start()
    shop.emit("order.placed")
    shop.run_until_idle()
    state = str(tmp_path / "state.json")
    look = ("watch", "--once", "--to", url, "--state", state, "--after", "1", "--dead", "#")
    statuses.append(500)
    assert "Sending the notification failed" in run(*look).err
    run(*look)
    run(*look)
    assert 2 == len(got), "refused, then sent, then known"
    assert "celeriac: 1 new" == got[1]["title"]
    assert "fail: 1 dead letter of #" in got[1]["message"] and "warning" == got[1]["type"]
    run("dead", "discard", "--all", "--yes")
    run(*look)
    run(*look)
    assert 3 == len(got)
    assert ("celeriac: 1 recovered", "success") == (got[2]["title"], got[2]["type"])
    assert "recovered: 1 dead letter of #" in got[2]["message"]


def test_redis_that_is_away_is_an_alert_of_its_own(
    shop: Shop, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> None:
        raise redis.ConnectionError("refused")

    monkeypatch.setattr(shop.backend.registry, "now_ms", away)
    answer = run("watch", "--once")
    assert 0 == answer.exit_code
    assert "fail: Redis at " in answer.out and "ConnectionError" in answer.out


def test_a_state_that_cannot_be_read_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("{")
    answer = run("watch", "--once", "--state", str(tmp_path / "state"))
    assert 2 == answer.exit_code
    assert "cannot be read" in answer.err and "Delete it" in answer.err
