"""celeriac dead edit: one in an editor, many by a JSON patch."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest

from celeriac.contract import schema_uri
from celeriac.contract.lock import LockedContract, LockedReader
from celeriac.contract.normal_form import digest
from celeriac.contract.schema import read_schema, written_schema
from celeriac.dead_letter import audit_log
from celeriac.delivery import DeadLetter
from celeriac.event import decode
from tests.unit.cli.conftest import Run
from tests.unit.tracking.shop import Shop

FIX = '[{"op": "replace", "path": "/data/card", "value": "tok_2"}]'
CODE = """
from celery import Celery
from celeriac import Event, EventBus
from dataclasses import dataclass

bus = EventBus(Celery("billing"), service="billing")

@dataclass
class Order:
    card: str

@bus.on("order.placed")
def charge(event: Event[Order]) -> None: ...
"""


def charge(event: Any) -> None:
    if event.data["card"] == "tok_1":
        raise ValueError("declined")


def die(shop: Shop, events: int = 1, **given: Any) -> list[DeadLetter]:
    shop.on("billing.charge", "order.placed", retries=0, function=charge)
    shop.on("mail.send", "order.placed")
    shop.start()
    for n in range(events):
        shop.emit("order.placed", {"card": "tok_1", "n": n}, subject=f"order/{n}", **given)
    shop.run_until_idle()
    return shop.backend.deliveries.dead("order")


def editing(monkeypatch: pytest.MonkeyPatch, change: Any) -> list[str]:
    """Answers $EDITOR; returns the texts that it was given."""
    seen: list[str] = []

    def edit(text: str, **_: Any) -> str | None:
        seen.append(text)
        document = json.loads(text)
        changed = change(document)
        return None if changed is None else json.dumps(changed)

    monkeypatch.setattr(click, "edit", edit)
    return seen


def test_one_letter_is_edited_and_delivered_to_its_handler_alone(
    shop: Shop, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    [letter] = die(shop)
    seen = editing(monkeypatch, lambda doc: {**doc, "data": {**doc["data"], "card": "tok_2"}})
    answer = run("dead", "edit", f"order/{letter.id}", "--yes", "--reason", "a typing error")
    assert 0 == answer.exit_code, answer.err
    assert '"card": "tok_1"' in seen[0]
    assert '-    "card": "tok_1"' in answer.out and '+    "card": "tok_2"' in answer.out
    assert "1 dead letter edited" in answer.out
    assert 0 == shop.backend.deliveries.dead_count("order")
    edited = decode(shop.backend.event_log.read("order", newest_first=True)[0].body or b"")
    assert edited.id in answer.out
    assert (letter.event_id, letter.event_id) == (edited.causationid, edited.correlationid)
    assert ("billing.charge",) == edited.handlers
    shop.run_until_idle()
    [status] = run("status", edited.id, "--json").json
    assert [("billing.charge", "processed")] == [
        (cell["handler"], cell["state"]) for cell in status["cells"]
    ]


def test_the_audit_log_and_the_history_name_the_editor_the_change_and_the_reason(
    shop: Shop, run: Run
) -> None:
    [letter] = die(shop)
    run("dead", "edit", f"order/{letter.id}", "--patch", FIX, "--yes", "--reason", "typing error")
    [act] = audit_log(shop.backend)
    assert ("edit", f"order/{letter.id}", "typing error", 1) == (
        act.note.did, act.note.what, act.note.reason, act.count,
    )  # fmt: skip
    assert act.note.actor
    assert json.loads(act.note.diff) == json.loads(FIX)
    edited = decode(shop.backend.event_log.read("order", newest_first=True)[0].body or b"")
    [found] = run("history", letter.event_id, "billing.charge", "--json").json
    assert ["emitted", "dead", "edit"] == [step["did"] for step in found["steps"]]
    assert edited.id == found["steps"][-1]["edited"]
    assert edited.id in run("history", letter.event_id).out
    assert edited.id in run("status", letter.event_id).out
    explained = run("explain", letter.event_id, "billing.charge").out
    assert f"celeriac explain {edited.id} billing.charge" in explained
    assert edited.id in run("trace", letter.event_id).out


def test_a_dry_run_shows_the_first_differences_and_changes_nothing(shop: Shop, run: Run) -> None:
    die(shop, 5)
    answer = run("dead", "edit", "--handler", "billing.charge", "--patch", FIX, "--dry-run")
    assert 0 == answer.exit_code
    assert 3 == answer.out.count('+    "card": "tok_2"')
    assert "and 2 more dead letters" in answer.out
    assert "5 dead letters would be edited; nothing was changed" in answer.out
    assert 5 == shop.backend.deliveries.dead_count("order")
    assert [] == audit_log(shop.backend)


def test_without_dead_letters_there_is_nothing_to_edit(shop: Shop, run: Run) -> None:
    die(shop)
    run("dead", "discard", "--all", "--yes")
    answer = run("dead", "edit", "--all", "--patch", FIX, "--yes")
    assert (0, "No dead letters.\n") == (answer.exit_code, answer.out)


def test_a_patch_edits_a_whole_group_from_a_file(shop: Shop, run: Run, tmp_path: Path) -> None:
    die(shop, 5)
    (tmp_path / "fix.json").write_text(FIX)
    answer = run("dead", "edit", "--error", "declined", "--patch", f"@{tmp_path}/fix.json",
                 input="y\n")  # fmt: skip
    assert "Edit 5 dead letters? [y/N]: y" in answer.out
    assert "5 dead letters edited" in answer.out
    shop.run_until_idle()
    assert 0 == shop.backend.deliveries.dead_count("order")
    [act] = audit_log(shop.backend)
    assert (5, "5 dead letters") == (act.count, act.note.what)


def test_letters_that_the_patch_does_not_fit_are_left_and_counted(shop: Shop, run: Run) -> None:
    die(shop, 3)
    patch = '[{"op": "test", "path": "/data/n", "value": 1},' + FIX[1:]
    answer = run("dead", "edit", "--all", "--patch", patch, "--yes")
    assert 1 == answer.exit_code
    assert "1 dead letter edited" in answer.out
    assert "2 not edited: the patch does not fit: JsonPatchTestFailed" in answer.err
    assert 2 == shop.backend.deliveries.dead_count("order")


def test_what_is_sensitive_is_edited_and_not_shown(shop: Shop, run: Run) -> None:
    [letter] = die(shop, sensitive=["card"])
    answer = run("dead", "edit", f"order/{letter.id}", "--patch", FIX, "--yes")
    assert "tok_" not in answer.out
    assert "only sensitive values differ" in answer.out
    assert "tok_" not in audit_log(shop.backend)[0].note.diff
    shop.run_until_idle()
    assert 0 == shop.backend.deliveries.dead_count("order")


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        ('[{"op": "replace", "path": "/id", "value": "x"}]', "an edit cannot change id"),
        ('[{"op": "replace", "path": "/type", "value": "order.paid"}]', "cannot change type"),
        ('[{"op": "remove", "path": "/source"}]', "cannot change source"),
        ('[{"op": "replace", "path": "/data/card", "value": "tok_1"}]', "nothing was changed"),
        ('[{"op": "replace", "path": "/subject", "value": 1}]', "subject"),
        ('[{"op": "replace", "path": "", "value": [1]}]', "not a JSON object"),
        ("{", "invalid JSON patch"),
        ('[{"op": "fly"}]', "patch"),
        ("[1]", "patch"),
    ],
)
def test_a_bad_edit_is_refused_and_changes_nothing(
    shop: Shop, run: Run, patch: str, message: str
) -> None:
    [letter] = die(shop)
    answer = run("dead", "edit", f"order/{letter.id}", "--patch", patch, "--yes")
    assert 0 != answer.exit_code
    assert message in answer.err
    assert [letter] == shop.backend.deliveries.dead("order")
    assert [] == audit_log(shop.backend)


def test_an_editor_that_is_left_without_saving_changes_nothing(
    shop: Shop, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    [letter] = die(shop)
    editing(monkeypatch, lambda _: None)
    assert 1 == run("dead", "edit", f"order/{letter.id}").exit_code
    assert 1 == shop.backend.deliveries.dead_count("order")


def test_the_editor_is_a_program_of_the_user(
    shop: Shop, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    [letter] = die(shop)
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", "sed -i s/tok_1/tok_2/")
    answer = run("dead", "edit", f"order/{letter.id}", input="y\n")
    assert 0 == answer.exit_code, answer.err
    assert '+    "card": "tok_2"' in answer.out
    assert 0 == shop.backend.deliveries.dead_count("order")


def test_an_invalid_edit_can_be_corrected_in_the_editor(
    shop: Shop, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    [letter] = die(shop)
    declare(shop)
    cards = iter([4111, "tok_2"])
    seen = editing(monkeypatch, lambda doc: {**doc, "data": {**doc["data"], "card": next(cards)}})
    answer = run("dead", "edit", f"order/{letter.id}", "--yes", input="y\n")
    assert 0 == answer.exit_code, answer.err
    assert "Error: the edited data does not match version 1" in answer.err
    assert ["tok_1", 4111] == [json.loads(text)["data"]["card"] for text in seen]
    assert 0 == shop.backend.deliveries.dead_count("order")


def test_after_an_invalid_edit_one_can_give_up(
    shop: Shop, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    [letter] = die(shop)
    editing(monkeypatch, lambda doc: {**doc, "id": "x"})
    answer = run("dead", "edit", f"order/{letter.id}", "--yes", input="n\n")
    assert 1 == answer.exit_code
    assert "an edit cannot change id" in answer.err
    assert [letter] == shop.backend.deliveries.dead("order")


def test_encrypted_events_are_refused(shop: Shop, run: Run) -> None:
    letter, *_ = die(shop, datacontenttype="application/jose+json")
    answer = run("dead", "edit", f"order/{letter.id}", "--patch", FIX, "--yes")
    assert "is encrypted and cannot be edited" in answer.err
    assert letter in shop.backend.deliveries.dead("order")


def test_a_handler_that_demands_signatures_needs_a_key(shop: Shop, run: Run) -> None:
    [letter] = die(shop)
    [record] = [r for r in shop.backend.registry.handlers().values() if r.service == "billing"]
    record.options["signed"] = "True"
    shop.backend.registry.register(record)
    answer = run("dead", "edit", f"order/{letter.id}", "--patch", FIX, "--yes")
    assert 1 == answer.exit_code
    assert "Set CELERIAC_SIGNING_KEY" in answer.err
    assert 1 == shop.backend.deliveries.dead_count("order")


def test_with_the_code_the_data_is_checked_before(
    shop: Shop, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "edited_billing.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "edited_billing", raising=False)
    [letter] = die(shop)
    wrong = '[{"op": "replace", "path": "/data/card", "value": 7}]'
    name, app = f"order/{letter.id}", ("-A", "edited_billing")
    answer = run("dead", "edit", name, "--patch", wrong, "--yes", *app)
    assert 1 == answer.exit_code and "not edited" in answer.err
    assert 1 == shop.backend.deliveries.dead_count("order")
    assert 0 == run("dead", "edit", name, "--patch", FIX, "--yes", *app).exit_code


@pytest.mark.parametrize("arguments", [(), ("a", "b"), ("--all",), ("order/1-1", "--dry-run")])
def test_an_editor_takes_one_letter(run: Run, arguments: tuple[str, ...]) -> None:
    assert 2 == run("dead", "edit", *arguments).exit_code


# -- contracts


class Card(msgspec.Struct):
    card: str
    n: int


def declare(shop: Shop, model: Any = Card, version: int = 1, reads: Any = None) -> None:
    """Register a version as a worker of `orders` does, and what the handler reads."""
    schema = written_schema(model)
    locked = LockedContract(version=version, digest=digest(schema), schema=schema)
    readers = {} if reads is None else {"billing.charge": reads}
    shop.backend.contracts.declare("orders", {"order.placed": [locked]}, readers)


@pytest.mark.parametrize(
    ("patch", "reason"),
    [
        ('[{"op": "replace", "path": "/data/card", "value": 4111}]',
         "data.card: expected string, got integer"),
        ('[{"op": "remove", "path": "/data/card"}]', "data: 'card' is a required property"),
        ('[{"op": "replace", "path": "/data", "value": "tok_2"}]', "data: expected object"),
        ('[{"op": "add", "path": "/data/crad", "value": "tok_2"}]', "'crad' was unexpected"),
        ('[{"op": "replace", "path": "/dataschema", "value": "urn:celeriac:order.placed:1"},'
         ' {"op": "remove", "path": "/data/n"}]', "data: 'n' is a required property"),
    ],
)  # fmt: skip
def test_data_that_does_not_match_the_registered_contract_is_refused(
    shop: Shop, run: Run, patch: str, reason: str
) -> None:
    [letter] = die(shop, dataschema=schema_uri("order.placed", 1))
    declare(shop)
    answer = run("dead", "edit", f"order/{letter.id}", "--patch", patch, "--yes")
    assert 1 == answer.exit_code
    assert (
        "the edited data does not match version 1 of order.placed, which orders registered: "
        in answer.err
    )
    assert reason in answer.err
    assert "4111" not in answer.err and "tok_2" not in answer.err
    assert [letter] == shop.backend.deliveries.dead("order")
    assert [] == audit_log(shop.backend)


def test_data_that_matches_the_contract_of_its_version_is_edited(shop: Shop, run: Run) -> None:
    """An event without `dataschema` has version 1. Fields that it had before may stay."""
    [letter] = die(shop)
    declare(shop)
    declare(shop, msgspec.defstruct("Other", [("other", int)]), version=2)
    answer = run("dead", "edit", f"order/{letter.id}", "--patch", FIX, "--yes")
    assert 0 == answer.exit_code, answer.err


def test_unknown_fields_that_the_event_had_before_may_stay(shop: Shop, run: Run) -> None:
    [letter] = die(shop)
    declare(shop, msgspec.defstruct("Known", [("card", str)]))
    answer = run("dead", "edit", f"order/{letter.id}", "--patch", FIX, "--yes")
    assert 0 == answer.exit_code, answer.err


def test_data_that_the_handler_cannot_read_is_refused(shop: Shop, run: Run) -> None:
    """Its type has no contract; the handler has registered what it reads."""
    [letter] = die(shop)
    reads = LockedReader(patterns=("order.placed",), schema=read_schema(Card))
    shop.backend.contracts.declare("billing", {}, {"billing.charge": reads})
    patch = '[{"op": "replace", "path": "/data/n", "value": "one"}]'
    answer = run("dead", "edit", f"order/{letter.id}", "--patch", patch, "--yes")
    assert 1 == answer.exit_code
    assert (
        "billing.charge cannot read the edited data: data.n: expected integer, got string"
        in answer.err
    )
    assert [letter] == shop.backend.deliveries.dead("order")


def test_a_version_that_the_handler_does_not_read_is_refused(shop: Shop, run: Run) -> None:
    [letter] = die(shop)
    reads = LockedReader(
        patterns=("order.placed",), versions={"order.placed": 2}, schema=read_schema(Card)
    )
    declare(shop, reads=reads)
    answer = run("dead", "edit", f"order/{letter.id}", "--patch", FIX, "--yes")
    assert "no upcaster leads from version 1 to 2" in answer.err
    assert [letter] == shop.backend.deliveries.dead("order")


def test_a_dry_run_counts_what_does_not_match(shop: Shop, run: Run) -> None:
    die(shop, 3)
    declare(shop)
    patch = '[{"op": "test", "path": "/data/n", "value": 1},' + FIX[1:]
    answer = run("dead", "edit", "--all", "--patch", patch, "--dry-run")
    assert "1 dead letter would be edited; nothing was changed" in answer.out
    wrong = '[{"op": "replace", "path": "/data/n", "value": "one"}]'
    answer = run("dead", "edit", "--all", "--patch", wrong, "--dry-run")
    assert 1 == answer.exit_code
    assert "3 not edited: the edited data does not match version 1" in answer.err


def test_without_jsonschema_a_registered_contract_cannot_be_checked(
    shop: Shop, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    [letter] = die(shop)
    declare(shop)
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    answer = run("dead", "edit", f"order/{letter.id}", "--patch", FIX, "--yes")
    assert 0 != answer.exit_code
    assert "pip install 'celeriac[edit]'" in answer.err
    assert [letter] == shop.backend.deliveries.dead("order")
