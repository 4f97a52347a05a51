"""Doctor's findings on the settings of the bus and the number of its domains."""

from __future__ import annotations

import pytest

from celeriac.bus_settings.record import Record, read_record
from celeriac.cli.doctor.finding import BusSnapshot, Finding
from celeriac.cli.doctor.settings import check_domains, check_settings
from celeriac.dispatcher.maintenance import MANY_DOMAINS
from celeriac.settings import Settings
from tests.unit.cli.conftest import Run
from tests.unit.cli.test_doctor import snapshot
from tests.unit.tracking.shop import Shop


def findings_of(settings: Settings, record: Record) -> list[Finding]:
    return list(check_settings(snapshot({}, settings=settings, record=record)))


def with_domains(number: int, **record: int) -> BusSnapshot:
    return snapshot({}, dead={f"d{n}": 0 for n in range(number)}, record=Record(record))


def test_settings_that_agree_are_in_order() -> None:
    given = Settings.load({"CELERIAC_RETENTION": "50"})
    [finding] = findings_of(given, Record({"retention": 50}))
    assert ("ok", "this process uses the settings of the bus") == (finding.level, finding.text)


def test_a_bus_that_no_worker_has_joined_has_no_settings() -> None:
    [finding] = findings_of(Settings.load({}), Record({}))
    assert "ok" == finding.level and "the first worker writes its own" in finding.text


def test_each_setting_that_is_ignored_here_is_named_with_both_remedies() -> None:
    given = Settings.load({"CELERIAC_RETENTION": "5", "CELERIAC_MAX_BACKLOG": "9"})
    retention, max_backlog = findings_of(given, Record({"retention": 50, "max_backlog": 0}))
    assert {"warn"} == {retention.level, max_backlog.level}
    assert "CELERIAC_RETENTION=5 is ignored: the bus uses retention=50" == retention.text
    assert "Remove it here, or run `celeriac config set retention 5`" in retention.remedy
    assert "CELERIAC_MAX_BACKLOG=9" in max_backlog.text


def test_a_setting_that_was_not_given_here_is_no_disagreement() -> None:
    assert ["ok"] == [one.level for one in findings_of(Settings.load({}), Record({"retention": 5}))]


def test_a_setting_that_cannot_be_read_is_named() -> None:
    [finding] = findings_of(Settings.load({}), read_record({"retention": "a week"}))
    assert "warn" == finding.level
    assert "'a week'" in finding.text and "celeriac config set retention" in finding.remedy


def test_the_doctor_reads_the_settings_that_hold_now(shop: Shop, run: Run) -> None:
    shop.on("billing.charge", "order.placed")
    shop.start()
    shop.backend.bus.establish()
    store = shop.backend.bus._store
    assert store is not None
    store.write({"retention": "a week"})
    [finding] = [f for f in run("doctor", "--json").json["findings"] if f["check"] == "settings"]
    assert "warn" == finding["level"]


@pytest.mark.parametrize(
    ("domains", "most", "text"),
    [
        (74, 100, None),
        (75, 100, "75 domains, of CELERIAC_MAX_DOMAINS=100; at the limit emit refuses new domains"),
        (120, 100, "120 domains, of CELERIAC_MAX_DOMAINS=100"),
        (MANY_DOMAINS - 1, 0, None),
        (MANY_DOMAINS, 0, "1,000 domains: each adds load to every worker that subscribes to #"),
        (MANY_DOMAINS, 100_000, "1,000 domains: each adds load"),
    ],
)
def test_a_growing_number_of_domains_is_reported(domains: int, most: int, text: str | None) -> None:
    findings = list(check_domains(with_domains(domains, max_domains=most)))
    assert [text is not None] * len(findings) == [True] * (text is not None)
    for finding in findings:
        assert "warn" == finding.level and text is not None and finding.text.startswith(text)
        assert "to subject" in finding.remedy
