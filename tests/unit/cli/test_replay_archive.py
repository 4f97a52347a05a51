"""`celeriac replay --from`, and `--dry-run` of both sources."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from celeriac.archive.archiver import ArchiveOptions, Archiver
from celeriac.archive.storage import Storage
from celeriac.store.memory.clock import MemoryClock
from tests.unit.cli.conftest import Run
from tests.unit.tracking.shop import Shop

HANDLER = "billing.charge"


class Archive:
    """Three orders and a cancellation, which the handler has processed: archived and trimmed."""

    def __init__(self, shop: Shop, clock: MemoryClock, url: str) -> None:
        self.shop, self.url, self.seen = shop, url, list[str]()
        shop.on(HANDLER, "order.#", function=lambda event: self.seen.append(event.type))
        shop.start()
        for type in ("order.placed",) * 3 + ("order.cancelled",):
            shop.emit(type)
        shop.run_until_idle()
        Archiver(shop.backend, shop.settings, Storage(url), ArchiveOptions()).drain()
        clock.advance(30 * 86_400_000)
        shop.backend.event_log.trim("order", exact=True)
        assert 0 == shop.backend.event_log.length("order")
        self.seen.clear()

    def span(self, *more: str) -> list[str]:
        return ["replay", HANDLER, "--since", "2020-01-01", "--from", self.url, *more]

    def ran(self) -> list[str]:
        self.shop.run_until_idle()
        return self.seen


@pytest.fixture
def archive(shop: Shop, clock: MemoryClock, tmp_path: Path) -> Archive:
    return Archive(shop, clock, (tmp_path / "archive").as_uri())


def test_prompts_and_replays(archive: Archive, run: Run) -> None:
    answer = run(*archive.span(), input="n\n")
    assert (1, []) == (answer.exit_code, archive.ran())
    answer = run(*archive.span(), input="y\n")
    assert "Run 4 events through billing.charge again?" in answer.out
    assert "4 events scheduled for billing.charge" in answer.out
    assert 4 == len(archive.ran())


def test_the_same_command_again_schedules_nothing(archive: Archive, run: Run) -> None:
    run(*archive.span("--yes"))
    answer = run(*archive.span("--yes"))
    assert 0 == answer.exit_code
    assert "This replay is finished: 4 events scheduled for billing.charge." in answer.out
    assert "add --again" in answer.out
    assert 4 == len(archive.ran())
    run(*archive.span("--yes", "--again"))
    assert 8 == len(archive.ran())


def test_selects_by_type_and_time(archive: Archive, run: Run) -> None:
    assert "1 event scheduled" in run(*archive.span("--type", "*.cancelled", "--yes")).out
    assert ["order.cancelled"] == archive.ran()
    answer = run(*archive.span("--until", "2020-01-02", "--yes"))
    assert "0 events scheduled" in answer.out
    assert "No events for" in run(*archive.span("--until", "2020-01-02")).out


def test_a_dry_run_counts_by_type_and_changes_nothing(archive: Archive, run: Run) -> None:
    answer = run(*archive.span("--dry-run"))
    lines = [line.split() for line in answer.out.splitlines()]
    assert ["order", "order.placed", "3"] in lines and ["order", "order.cancelled", "1"] in lines
    assert "4 events for billing.charge. Nothing was scheduled." in answer.out
    assert [] == archive.ran()
    assert 0 == archive.shop.backend.event_log.length("order")


def test_a_dry_run_of_the_log_counts_by_type(archive: Archive, run: Run) -> None:
    archive.shop.emit("order.placed")
    archive.ran()
    answer = run("replay", HANDLER, "--since", "1h", "--dry-run")
    assert ["order", "order.placed", "1"] in [line.split() for line in answer.out.splitlines()]
    assert ["order.placed"] == archive.ran()


def test_an_interrupted_replay_continues(
    archive: Archive, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("celeriac.archive.replay.STEP", 3)
    deliveries: Any = archive.shop.backend.deliveries
    step, calls = deliveries.replay_archived, 0

    def interrupting(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        return step(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(deliveries, "replay_archived", interrupting)
        answer = run(*archive.span("--yes"))
    assert 1 == answer.exit_code
    assert "Run the same command again to continue." in answer.err
    assert 3 == len(archive.ran())
    answer = run(*archive.span("--yes"))
    assert "Continuing after 3 events." in answer.err
    assert 4 == len(archive.ran())


def test_another_replay_names_the_arguments_of_the_unfinished_one(
    archive: Archive, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(archive.shop.backend.deliveries, "replay_archived", interrupt)
        run(*archive.span("--yes", "--type", "order.placed", "--until", "2090-01-01T00:00:00.123Z"))
    refused = run(*archive.span("--yes"))
    assert 1 == refused.exit_code
    about = (
        "--since 2020-01-01T00:00:00.000Z --until 2090-01-01T00:00:00.123Z --type 'order.placed' "
        f"--from {archive.url}"
    )
    assert f"billing.charge has an unfinished replay: {about}. Continue it" in refused.err
    named = [word.strip("'") for word in about.split()]
    assert "3 events scheduled" in run("replay", HANDLER, *named, "--yes").out
    assert "4 events scheduled" in run(*archive.span("--yes")).out


def test_an_unfinished_replay_is_given_up_on_request(
    archive: Archive, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(archive.shop.backend.deliveries, "replay_archived", interrupt)
        run(*archive.span("--yes", "--type", "order.placed"))
    assert "4 events scheduled" in run(*archive.span("--yes", "--replace")).out


def test_the_replay_is_in_the_audit_log(archive: Archive, run: Run) -> None:
    run(*archive.span("--yes", "--reason", "new index"))
    [end, begin] = archive.shop.backend.deliveries.audit_log("order")
    assert (4, 0) == (end.count, begin.count)
    assert f"{HANDLER} since 2020-01-01 00:00:00 from {archive.url}".encode() in end.note
    assert b"new index" in end.note


@pytest.mark.parametrize("url", ["/var/events", "http://a/b", "file:///missing/folder"])
def test_a_url_without_an_archive_is_refused(archive: Archive, run: Run, url: str) -> None:
    answer = run("replay", HANDLER, "--since", "1h", "--from", url, "--yes")
    assert answer.exit_code in (1, 2)
    assert url in answer.err


def test_options_of_archives_need_an_archive(archive: Archive, run: Run) -> None:
    answer = run("replay", HANDLER, "--since", "1h", "--again")
    assert (2, True) == (answer.exit_code, "need --from" in answer.err)
