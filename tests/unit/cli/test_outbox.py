"""The commands for an outbox: waiting events, failed events, and publishing them manually."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.pool import NullPool

from celeriac import EventBus, Settings
from celeriac.cli.root import main
from celeriac.outbox import create_outbox


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'shop.sqlite'}"


@pytest.fixture
def engine(url: str) -> Engine:
    engine = create_engine(url, poolclass=NullPool)
    create_outbox(engine)
    return engine


@pytest.fixture
def live(settings: Settings) -> EventBus:
    return EventBus(redis_url=settings.redis_url, namespace=settings.namespace)


def run(settings: Settings, *arguments: str, input: str | None = None) -> Result:
    given = ["--redis-url", settings.redis_url, "--namespace", settings.namespace, *arguments]
    return CliRunner().invoke(main, given, input=input)


def emit(live: EventBus, engine: Engine, *sizes: int) -> None:
    with engine.begin() as connection:
        for n, size in enumerate(sizes):
            live.emit("order.placed", "x" * size, id=f"e{n}", session=connection)


def test_a_list_without_failed_rows_is_a_sentence(
    settings: Settings, engine: Engine, url: str
) -> None:
    assert run(settings, "outbox", "list", "--database", url).stdout == "No row has failed.\n"


def test_status_counts_what_waits_and_once_publishes_it(
    settings: Settings, live: EventBus, engine: Engine, url: str
) -> None:
    emit(live, engine, 1, 1)
    out = run(settings, "outbox", "status", "--database", url).stdout
    assert out.startswith("2 events waiting, the oldest for ")
    assert run(settings, "relay", "--database", url, "--once").stdout == "2 events published\n"
    found = json.loads(run(settings, "outbox", "status", "--database", url, "--json").stdout)
    assert (found["waiting"], found["oldest_s"], found["failed"]) == (0, None, 0)
    assert live.service.backend.event_log.length("order") == 2


def test_failed_events_are_listed_retried_and_discarded(
    settings: Settings,
    live: EventBus,
    engine: Engine,
    url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    emit(live, engine, 3000, 1, 4000)
    monkeypatch.setenv("CELERIAC_OUTBOX_URL", url)
    monkeypatch.setenv("CELERIAC_MAX_EVENT_BYTES", "1000")
    run(settings, "relay", "--once")
    assert "0 events waiting; 2 failed" in run(settings, "outbox", "status").stdout
    listed = run(settings, "outbox", "list").stdout
    assert "e0" in listed
    assert "EventTooLarge" in listed
    first = run(settings, "outbox", "list", "--limit", "1").stdout
    assert "e0" in first and "e2" not in first and "1 shown of 2" in first
    assert "shown of" not in listed
    rows = [one["row"] for one in json.loads(run(settings, "outbox", "list", "--json").stdout)]
    assert run(settings, "outbox", "retry", "99").exit_code == 1
    assert run(settings, "outbox", "retry").exit_code == 2
    assert run(settings, "outbox", "discard", str(rows[0]), input="n\n").exit_code == 1
    assert "2 failed" in run(settings, "outbox", "status").stdout
    assert "1 event discarded" in run(settings, "outbox", "discard", str(rows[0]), "--yes").stdout
    monkeypatch.setenv("CELERIAC_MAX_EVENT_BYTES", "10000")
    assert "1 event requeued" in run(settings, "outbox", "retry", "--all", "--yes").stdout
    assert "1 event published" in run(settings, "relay", "--once").stdout


def fail_rows(engine: Engine, count: int) -> None:
    row = {"domain": "order", "body": b"{}", "created_ms": 1, "failed_ms": 2}
    with engine.begin() as connection:
        statement = (
            "INSERT INTO celeriac_outbox (event_id, domain, body, created_ms, failed_ms) "
            "VALUES (:event_id, :domain, :body, :created_ms, :failed_ms)"
        )
        connection.execute(text(statement), [{**row, "event_id": f"e{n}"} for n in range(count)])


@pytest.mark.parametrize("command", ["retry", "discard"])
def test_any_number_of_failed_events_is_dealt_with_and_the_first_are_named(
    settings: Settings, engine: Engine, url: str, command: str
) -> None:
    fail_rows(engine, 1103)
    database = ("--database", url)
    rows = [str(row) for row in range(1, 1003)]
    asked = run(settings, "outbox", command, *rows, *database, input="n\n").stdout
    assert f"{command.capitalize()} 1,002 failed events: e0, e1, " in asked
    assert "e9 and 992 more?" in asked
    assert "1,002 events" in run(settings, "outbox", command, *rows, *database, "--yes").stdout
    answer = run(settings, "outbox", command, *rows, *database, "--yes")
    assert (1, True) == (answer.exit_code, "10 and 992 more. Check" in answer.stderr)
    assert "101 failed" in run(settings, "outbox", "status", *database).stdout
    asked = run(settings, "outbox", command, "--all", *database, input="y\n").stdout
    assert "101 failed events: e1002, e1003, " in asked and "and 91 more?" in asked
    assert "0 failed" in run(settings, "outbox", "status", *database).stdout


def test_a_number_that_no_row_has_is_refused(settings: Settings, engine: Engine, url: str) -> None:
    for row in (2**63, -1):
        answer = run(settings, "outbox", "retry", "--database", url, "--yes", "--", str(row))
        assert 2 == answer.exit_code


def test_a_missing_database_is_a_usage_error(settings: Settings) -> None:
    result = run(settings, "outbox", "status")
    assert result.exit_code == 2
    assert "CELERIAC_OUTBOX_URL" in result.stderr


def test_django_needs_its_settings(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE", raising=False)
    result = run(settings, "relay", "--django", "--once")
    assert result.exit_code == 2
    assert "DJANGO_SETTINGS_MODULE" in result.stderr


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nonsense", "not a URL of SQLAlchemy"),
        ("foo://secret@host/x", "unknown driver foo"),
        ("sqlite:////nowhere/at/all.sqlite", "nowhere/at/all"),
        ("postgresql://u:secret@127.0.0.1:1/x", "connection"),
    ],
)
def test_an_unreachable_database_is_reported_in_one_line(
    settings: Settings, url: str, said: str
) -> None:
    result = run(settings, "relay", "--database", url, "--once")
    assert result.exit_code in (1, 2)
    assert said in result.stderr
    assert "secret" not in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_missing_table_is_reported_with_the_remedy(settings: Settings, url: str) -> None:
    result = run(settings, "outbox", "status", "--database", url)
    assert result.exit_code == 2
    assert "create_outbox" in result.stderr
