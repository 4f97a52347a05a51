"""Commands that change something."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from celeriac import transfer
from celeriac.dead_letter import audit_log
from celeriac.delivery import Group
from celeriac.security.generate import generate
from tests.unit.cli.conftest import Run, refuse
from tests.unit.tracking.shop import Shop


@pytest.fixture
def graves(shop: Shop) -> list[str]:
    """Two dead letters of billing.charge and one of mail.send, by name, the newest first."""
    shop.on("billing.charge", "order.placed", retries=0, function=refuse)
    shop.on("mail.send", "parcel.sent", retries=0, function=refuse)
    shop.start()
    for type in ("order.placed", "order.placed", "parcel.sent"):
        shop.emit(type, {"n": 1})
    shop.run_until_idle()
    shop.run_until_idle()
    return [
        f"{domain}/{letter.id}"
        for domain in ("order", "parcel")
        for letter in shop.backend.deliveries.dead(domain)
    ]


def states(run: Run) -> list[str]:
    return sorted(c["state"] for one in run("events", "--json").json for c in one["cells"])


def test_emit_prints_the_id(run: Run) -> None:
    id = run("emit", "order.placed", '{"n": 1}', "--subject", "order/1").out.strip()
    found = run("status", id, "--json").json[0]
    assert ({"n": 1}, "order/1", "test") == (found["data"], found["subject"], found["source"])


def test_emit_takes_data_from_a_file_or_standard_input(run: Run, tmp_path: Path) -> None:
    (tmp_path / "data.json").write_text("[1, 2]")
    id = run("emit", "order.placed", f"@{tmp_path}/data.json").out.strip()
    assert [1, 2] == run("status", id, "--json").json[0]["data"]
    id = run("emit", "order.placed", "-", input='"é"').out.strip()
    assert "é" == run("status", id, "--json").json[0]["data"]
    id = run("emit", "order.placed").out.strip()
    assert run("status", id, "--json").json[0]["data"] is None


def test_emit_takes_id_delay_and_handlers(run: Run) -> None:
    answer = run("emit", "order.placed", "1", "--id", "a", "--delay", "60", "--handlers", "b.c,d.e")
    assert "a\n" == answer.out
    found = run("status", "a", "--json").json[0]
    assert ("delayed", ["b.c", "d.e"]) == (found["location"], found["handlers"])


def test_cancel_removes_a_delayed_event_and_is_audited(run: Run, shop: Shop) -> None:
    run("emit", "order.placed", "1", "--id", "a", "--delay", "60")
    answer = run("cancel", "a", "--reason", "sold out")
    assert (0, "cancelled order.placed a of test\n") == (answer.exit_code, answer.out)
    assert 0 == shop.backend.event_log.delayed("order")
    [entry] = audit_log(shop.backend)
    assert ("cancel", "order.placed a", "sold out") == (
        entry.note.did,
        entry.note.what,
        entry.note.reason,
    )
    again = run("cancel", "a")
    assert again.exit_code == 1 and "event not found: a" in again.err


def test_cancel_refuses_what_is_in_the_event_log(run: Run) -> None:
    run("emit", "order.placed", "1", "--id", "a")
    refused = run("cancel", "a")
    assert refused.exit_code == 1 and "event a is not delayed" in refused.err


def test_emit_encrypts_for_services_and_status_names_them(run: Run, shop: Shop) -> None:
    refused = run("emit", "order.placed", "1", "--encrypt-for", "billing")
    assert refused.exit_code == 2 and "no X25519 key of that service" in refused.err
    keys = [generate(name, encryption=True)[1] for name in ("billing", "mail")]
    shop.settings = replace(shop.settings, trusted_keys=json.dumps({"keys": keys}))
    id = run("emit", "order.placed", '"secret"', "--encrypt-for", "billing, mail").out.strip()
    assert run("status", id, "--json").json[0]["data"] == "encrypted for billing, mail"
    for shown in (run("status", id), run("tail", "--since", "1h", "--limit", "1", "--data")):
        assert "ciphertext" not in shown.out + shown.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("order placed", "1"),
        ("order.placed", "{n: 1}"),
        ("order.placed", "[" * 10_000),
        ("order.placed", "@/no/such/file"),
        ("order.placed", "1", "--delay", "-1"),
        ("order.placed", "1", "--handlers", "no handler"),
    ],
)
def test_emit_refuses_what_is_no_event(run: Run, arguments: tuple[str, ...]) -> None:
    answer = run("emit", *arguments)
    assert (2, "") == (answer.exit_code, answer.out)


def test_dead_letters_are_listed_and_filtered(run: Run, graves: list[str]) -> None:
    assert {*graves} == {one["name"] for one in run("dead", "list", "--json").json}
    for filter in (("--handler", "mail.send"), ("--type", "parcel.#")):
        assert [graves[2]] == [one["name"] for one in run("dead", "list", *filter, "--json").json]
    assert 3 == len(run("dead", "list", "--error", "DECLINED", "--json").json)
    assert "No dead letters." in run("dead", "list", "--error", "other").out
    answer = run("dead", "list", "--limit", "1")
    assert "1 shown of 3" in answer.out


def test_a_dead_letter_is_shown_whole(run: Run, graves: list[str]) -> None:
    answer = run("dead", "show", graves[0])
    for text in ("billing.charge", "ValueError: declined", "Traceback", '"data":{"n":1}'):
        assert text in answer.out
    found = run("dead", "show", graves[0], "--json").json
    assert {"n": 1} == found["event"]["data"]
    assert found["last_failed"].endswith("Z")


@pytest.mark.parametrize("name", ["nope", "order/1-1", "order/nope", "nope/1-1"])
@pytest.mark.parametrize("command", ["show", "redrive", "discard"])
def test_an_unknown_dead_letter_ends_with_1(run: Run, command: str, name: str) -> None:
    answer = run("dead", command, name)
    assert 1 == answer.exit_code
    assert f"dead letter not found: {name}" in answer.err


def test_redriven_by_name_it_is_delivered_again(run: Run, graves: list[str]) -> None:
    assert "1 dead letter redriven" in run("dead", "redrive", graves[0], "--yes").out
    assert ["dead", "dead", "scheduled"] == states(run)


def test_redriving_by_handler_shows_the_selection_and_prompts(run: Run, graves: list[str]) -> None:
    answer = run("dead", "redrive", "--handler", "billing.charge", input="n\n")
    assert 1 == answer.exit_code
    assert "Redrive 2 dead letters?" in answer.out
    assert ["dead"] * 3 == states(run)
    answer = run("dead", "redrive", "--handler", "billing.charge", input="y\n")
    assert "2 dead letters redriven" in answer.out
    assert ["dead", "scheduled", "scheduled"] == states(run)


def test_redriving_for_a_handler_that_was_removed_fails_and_keeps_the_letter(
    run: Run, graves: list[str]
) -> None:
    run("handlers", "remove", "mail.send", "--yes")
    answer = run("dead", "redrive", "--all", "--yes")
    assert 1 == answer.exit_code
    assert "2 dead letters redriven" in answer.out
    assert "1 not redriven: no handler mail.send" in answer.err
    assert 1 == len(run("dead", "list", "--json").json)


def test_discarded_letters_are_gone(run: Run, graves: list[str]) -> None:
    assert 1 == run("dead", "discard", "--all", input="n\n").exit_code
    assert "3 dead letters discarded" in run("dead", "discard", "--all", "--yes").out
    assert "No dead letters." in run("dead", "list").out
    assert "No dead letters." in run("dead", "discard", "--all").out


@pytest.mark.parametrize("arguments", [(), ("order/1-1", "--all"), ("--all", "--handler", "a.b")])
def test_dead_letters_must_be_selected_in_one_way(run: Run, arguments: tuple[str, ...]) -> None:
    assert 2 == run("dead", "redrive", *arguments).exit_code


def test_replay_runs_again_what_the_handler_had(shop: Shop, run: Run) -> None:
    seen: list[str] = []
    shop.on("billing.charge", "order.#", function=lambda event: seen.append(event.type))
    shop.start()
    shop.emit("order.placed")
    shop.emit("order.cancelled")
    shop.emit("order.placed", handlers=["mail.send"])
    shop.run_until_idle()
    shop.emit("order.placed")
    assert 2 == len(seen)
    answer = run("replay", "billing.charge", "--since", "1h", input="n\n")
    assert 1 == answer.exit_code
    assert "Run 2 events through billing.charge again?" in answer.out
    answer = run("replay", "billing.charge", "--since", "1h", "--type", "*.cancelled", "--yes")
    assert "1 event scheduled" in answer.out
    shop.run_until_idle()
    assert ["order.cancelled", "order.cancelled", "order.placed", "order.placed"] == sorted(seen)


def test_replay_moves_large_events_a_few_at_a_time(
    shop: Shop, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.on("billing.charge", "order.#")
    shop.start()
    for n in range(4):
        shop.emit("order.placed", {"n": n, "bulk": "x" * 1000})
    shop.run_until_idle()
    moved: list[int] = []
    replay = shop.backend.deliveries.replay

    def watched(group: Group, entries: Sequence[tuple[str, str]], note: bytes = b"") -> int:
        moved.append(len(entries))
        return replay(group, entries, note)

    monkeypatch.setattr(shop.backend.deliveries, "replay", watched)
    monkeypatch.setattr(transfer, "PAGE_BYTES", 3000)
    assert "4 events scheduled" in run("replay", "billing.charge", "--since", "1h", "--yes").out
    assert [2, 2] == moved


def test_replay_warns_that_an_inbox_prevents_runs(shop: Shop, run: Run) -> None:
    shop.on("billing.charge", "order.#", inbox=create_engine("sqlite://"))
    shop.start()
    shop.emit("order.placed")
    shop.backend.event_log.join("order", "billing.charge", "0")
    shop.run_until_idle()
    assert "celeriac_inbox" in run("replay", "billing.charge", "--since", "1h", "--yes").err


def test_replay_stays_within_the_given_time(shop: Shop, run: Run) -> None:
    shop.on("billing.charge", "order.#")
    shop.start()
    shop.emit("order.placed")
    shop.run_until_idle()
    for span in (("--since", "2999-01-01"), ("--since", "2d", "--until", "1d")):
        assert "No events" in run("replay", "billing.charge", *span, "--yes").out


def test_replay_needs_a_handler_with_a_group(shop: Shop, run: Run) -> None:
    assert 1 == run("replay", "nope", "--since", "1h").exit_code
    shop.on("billing.charge", "order.#")
    shop.start()
    shop.backend.event_log.leave("order", "billing.charge")
    answer = run("replay", "billing.charge", "--since", "1h")
    assert 1 == answer.exit_code
    assert "has no group" in answer.err


def test_a_removed_handler_holds_nothing_back(shop: Shop, run: Run) -> None:
    shop.on("billing.charge", "order.#", "payment.due")
    shop.start()
    shop.emit("order.placed")
    answer = run("handlers", "remove", "billing.charge", input="y\n")
    assert "drop 1 unfinished event?" in answer.out
    assert {} == shop.backend.registry.handlers()
    assert [] == shop.backend.event_log.groups("order") + shop.backend.event_log.groups("payment")
    assert shop.backend.registry.was_removed("billing.charge")
    assert 1 == run("handlers", "remove", "nope").exit_code


def test_removing_counts_the_dead_letters_that_stay(run: Run, graves: list[str]) -> None:
    answer = run("handlers", "remove", "billing.charge", "--yes")
    assert "2 dead letters kept" in answer.out
    assert 3 == len(run("dead", "list", "--json").json)


def test_a_group_that_is_nobodys_can_be_removed(shop: Shop, run: Run) -> None:
    shop.backend.event_log.join("order", "old.handler", "0")
    assert 0 == run("handlers", "remove", "old.handler", "--yes").exit_code
    assert [] == shop.backend.event_log.groups("order")
    assert 0 == shop.backend.deliveries.due(Group("order", "old.handler"))


@pytest.mark.parametrize(("delay", "shown"), [("1h", "in 60 min"), ("90", "in 90 s")])
def test_emit_takes_a_delay_as_a_duration_or_in_seconds(run: Run, delay: str, shown: str) -> None:
    id = run("emit", "order.placed", "1", "--delay", delay).out.strip()
    assert shown in run("status", id).out


@pytest.mark.parametrize("delay", ["0", "-1", "nan", "inf", "soon"])
def test_emit_refuses_what_is_no_delay(run: Run, delay: str) -> None:
    answer = run("emit", "order.placed", "1", f"--delay={delay}")
    assert (2, True) == (answer.exit_code, "duration is invalid" in answer.err)
    assert [] == run("events", "--json").json


@pytest.mark.parametrize("command", ["redrive", "discard", "list"])
def test_an_unknown_handler_is_an_error(run: Run, graves: list[str], command: str) -> None:
    answer = run("dead", command, "--handler", "billing.chrage")
    assert 1 == answer.exit_code
    assert (
        "handler not found: billing.chrage. Registered handlers: billing.charge, mail.send."
        in answer.err
    )


def test_a_known_handler_without_dead_letters_is_no_error(shop: Shop, run: Run) -> None:
    shop.on("mail.send", "parcel.sent")
    shop.start()
    answer = run("dead", "redrive", "--handler", "mail.send")
    assert (0, "No dead letters.\n") == (answer.exit_code, answer.out)


def test_discard_shows_the_selection_before_it_prompts(run: Run, graves: list[str]) -> None:
    answer = run("dead", "discard", "--all", input="n\n")
    assert 1 == answer.exit_code
    assert ["2", "billing.charge", "order.placed", "ValueError"] == answer.out.splitlines()[
        0
    ].split()
    assert ["1", "mail.send", "parcel.sent", "ValueError"] == answer.out.splitlines()[1].split()
    assert 3 == len(run("dead", "list", "--json").json)


def test_status_shows_the_attempts_before_a_redrive(
    shop: Shop, run: Run, graves: list[str]
) -> None:
    id = shop.backend.deliveries.dead("parcel")[0].event_id
    run("dead", "redrive", "--handler", "mail.send", "--yes")
    shop.run_until_idle()
    lines = [line.split() for line in run("status", id).out.splitlines()]
    heads = [line[:2] for line in lines if line[:1] in (["attempt"], ["redrive"])]
    assert [["attempt", "1"], ["redrive", "by"], ["attempt", "1"]] == heads
    cell = run("status", id, "--json").json[0]["cells"][0]
    assert [1, 2] == [failure["life"] for failure in cell["failures"]]
    assert [2] == [restart["life"] for restart in cell["restarts"]]
