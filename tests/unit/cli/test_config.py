"""celeriac config: the settings that the whole bus shares, seen and changed by an operator."""

from __future__ import annotations

import logging

import pytest
from click.testing import CliRunner

from celeriac.bus_settings import BusSettings
from celeriac.cli.root import main
from celeriac.cli.session import Session
from celeriac.dead_letter import audit_log
from celeriac.settings import BUS_WIDE, Settings
from tests.unit.cli.conftest import Run
from tests.unit.tracking.shop import Shop


def worker(shop: Shop, **given: object) -> BusSettings:
    """The settings of a worker that has started with these of its own."""
    made = BusSettings(Settings.load({}, **given), shop.backend.bus._store)
    made.establish()
    return made


def rows(run: Run, *arguments: str) -> dict[str, tuple[float, float, float | None, bool]]:
    """Setting → its value, its default, the value in this environment, whether it is written."""
    answer = run("config", *arguments, "--json").json
    names = ("value", "default", "here", "written")
    return {row["name"]: tuple(row[name] for name in names) for row in answer["settings"]}


@pytest.mark.parametrize("arguments", [(), ("show",)])
def test_every_setting_of_the_bus_is_shown_with_its_default(
    shop: Shop, run: Run, arguments: tuple[str, ...]
) -> None:
    worker(shop, retention=50)
    found = rows(run, *arguments)
    assert list(BUS_WIDE) == list(found)
    assert (50, Settings().retention, None, True) == found["retention"]
    [line] = [one for one in run("config").out.splitlines() if one.startswith("retention ")]
    assert ["retention", "50", "604800", "s", "·", "yes"] == line.split()


def test_before_the_first_worker_nothing_is_written(run: Run) -> None:
    assert {False} == {written for _, _, _, written in rows(run).values()}
    assert "No worker has started yet" in run("config").out


def test_an_ignored_value_of_this_environment_is_named(shop: Shop) -> None:
    worker(shop, retention=50)
    own = Settings.load({"CELERIAC_RETENTION": "5"})
    shop.backend.bus.local = own
    result = CliRunner().invoke(main, ["config"], obj=Session(own, shop.backend))
    assert "CELERIAC_RETENTION=5 is ignored: the bus uses retention=50" in result.stdout
    assert "celeriac config set retention 5" in result.stdout


def test_a_change_applies_to_every_reader_and_is_in_the_audit_log(shop: Shop, run: Run) -> None:
    other = worker(shop, retention=50)
    answer = run("config", "set", "retention", "60")
    assert (0, "retention: 50 to 60. ") == (answer.exit_code, answer.out[:21])
    other.refresh()
    assert 60 == other.current.retention
    [act] = audit_log(shop.backend)
    assert ("set", "retention: 50 to 60") == (act.note.did, act.note.what)
    answer = run("config", "set", "retention", "70.5", "--json")
    assert {"name": "retention", "before": 60, "value": 70.5} == answer.json


def test_a_time_may_have_a_unit(shop: Shop, run: Run) -> None:
    worker(shop, retention=50)
    assert run("config", "set", "retention", "30d").out.startswith("retention: 50 to 2592000. ")
    refused = run("config", "set", "retention", "30x")
    assert 2 == refused.exit_code
    assert "retention='30x' must be a number of seconds" in refused.err
    assert 2 == run("config", "set", "max_backlog", "30d").exit_code


def test_setting_what_holds_already_is_no_act(shop: Shop, run: Run) -> None:
    worker(shop, retention=50)
    assert 0 == run("config", "set", "retention", "50").exit_code
    assert [] == audit_log(shop.backend)


def test_reset_gives_a_setting_its_default(shop: Shop, run: Run) -> None:
    other = worker(shop, max_backlog=9)
    assert 0 == run("config", "reset", "max_backlog").exit_code
    other.refresh()
    assert Settings().max_backlog == other.current.max_backlog


@pytest.mark.parametrize(
    ("value", "reason"),
    [("soon", "number"), ("0", "at least 1"), ("inf", "finite"), ("nan", "finite")],
)
def test_a_bad_value_is_refused_and_changes_nothing(
    shop: Shop, run: Run, value: str, reason: str
) -> None:
    other = worker(shop, retention=50)
    answer = run("config", "set", "retention", value, "--yes")
    assert 0 != answer.exit_code
    assert "retention" in answer.err and value in answer.err and reason in answer.err
    other.refresh()
    assert 50 == other.current.retention
    assert [] == audit_log(shop.backend)


@pytest.mark.parametrize("verb", [("set", "retentoin", "5"), ("reset", "lease")])
def test_an_unknown_name_is_refused_with_those_there_are(run: Run, verb: tuple[str, ...]) -> None:
    answer = run("config", *verb)
    assert 2 == answer.exit_code
    assert verb[1] in answer.err and "dead_retention" in answer.err


@pytest.mark.parametrize("name", ["retention", "max_dead_letters", "dedup_window"])
def test_a_change_that_deletes_data_prompts_first(shop: Shop, run: Run, name: str) -> None:
    other = worker(shop, **{name: 50})
    refused = run("config", "set", name, "40", input="n\n")
    assert 0 != refused.exit_code
    assert f"Lower {name} from 50 to 40? Data beyond it is deleted." in refused.out
    other.refresh()
    assert 50 == getattr(other.current, name)
    assert 0 == run("config", "set", name, "40", input="y\n").exit_code
    other.refresh()
    assert 40 == getattr(other.current, name)


def test_a_change_that_deletes_nothing_does_not_prompt(shop: Shop, run: Run) -> None:
    worker(shop, retention=50, max_backlog=50)
    for name, value in (("retention", "60"), ("max_backlog", "40")):
        assert "?" not in run("config", "set", name, value, input="").out


def test_workers_that_were_given_another_value_warn_of_it(
    shop: Shop, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    """Also when the bus's value changes under them, and once for each."""
    first = worker(shop, retention=50)
    with caplog.at_level(logging.WARNING):
        run("config", "set", "retention", "60")
        first.establish()
        first.establish()
        worker(shop, retention=70)
    name = "celeriac.bus_settings.bus_settings"
    lines = [record.getMessage() for record in caplog.records if record.name == name]
    assert ["RETENTION=50", "RETENTION=70"] == [
        line.split()[1].removeprefix("CELERIAC_") for line in lines
    ]
    assert all("the bus uses retention=60" in line for line in lines)


def test_a_value_that_cannot_be_read_is_named_with_the_remedy(shop: Shop, run: Run) -> None:
    worker(shop, retention=50)
    store = shop.backend.bus._store
    assert store is not None
    store.write({"retention": "a week"})
    assert "The bus's retention is unreadable: 'a week'" in run("config").out
    assert run("config", "--json").json["faults"]
    assert 0 == run("config", "set", "retention", "60", "--yes").exit_code
    assert [] == run("config", "--json").json["faults"]
