from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
import redis

from celeriac import BusUnavailable, ConfigurationError, EventBus
from celeriac.dead_letter import Choice, audit_log
from celeriac.dead_letter.audit import BUS
from celeriac.event import encode
from celeriac.event_log import EntryKind
from celeriac.flower.view.dead import read_dead
from celeriac.flower.view.event import read_event
from celeriac.security.encrypter import Encrypter, make_encrypter
from celeriac.settings import Settings
from celeriac.subject_keys import SUBJECT, MemorySubjectKeys
from celeriac.tracking import Matrix
from tests.unit.cli.conftest import Run, refuse
from tests.unit.tracking.shop import Shop


@pytest.fixture
def keys(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> MemorySubjectKeys:
    """The store of `config_customers`, whose bus is that of the shop."""
    keys = MemorySubjectKeys()
    keys.key_of("customer-42")
    module = ModuleType("config_customers")
    module.bus = EventBus(service="customers", subject_keys=keys)  # type: ignore[attr-defined]
    module.bus.service.backend = shop.backend
    monkeypatch.setitem(sys.modules, "config_customers", module)
    return keys


def test_prompts_erases_and_records(shop: Shop, run: Run, keys: MemorySubjectKeys) -> None:
    arguments = ("erase", "customer-42", "-A", "config_customers", "--reason", "request 7")
    assert 1 == run(*arguments, input="n\n").exit_code
    assert keys.erasure("customer-42") is None
    answer = run(*arguments, input="y\n")
    assert "Make all data of customer-42 unreadable permanently?" in answer.out
    assert "customer-42 is erased. Running processes may use the key for up to 60 s." in answer.out
    erasure = keys.erasure("customer-42")
    assert erasure is not None and "request 7" == erasure.reason
    [entry] = audit_log(shop.backend)
    assert ("erase", "customer-42", "request 7", erasure.actor) == (
        entry.note.did, entry.note.what, entry.note.reason, entry.note.actor,
    )  # fmt: skip


def test_a_repeated_erasure_shows_the_first(shop: Shop, run: Run, keys: MemorySubjectKeys) -> None:
    keys.erase("customer-42", actor="ann")
    answer = run("erase", "customer-42", "-A", "config_customers", "--yes")
    assert 0 == answer.exit_code
    assert "customer-42 was erased before, at 20" in answer.out and "by ann" in answer.out
    run("erase", "customer-42", "-A", "config_customers", "--yes")
    assert 1 == len(shop.backend.deliveries.audit_log(BUS))
    [entry] = audit_log(shop.backend)
    assert ("erase", "customer-42", "ann") == (entry.note.did, entry.note.what, entry.note.actor)


def test_code_erases_and_records(shop: Shop, keys: MemorySubjectKeys) -> None:
    bus = sys.modules["config_customers"].bus
    first = bus.erase("customer-42", actor="ann", reason="request 7")
    again = bus.erase("customer-42", actor="bob")
    assert (True, False, "ann") == (first.is_new, again.is_new, again.actor)
    [entry] = audit_log(shop.backend)
    assert ("ann", "request 7", first.key_id) == (
        entry.note.actor, entry.note.reason, entry.note.key,
    )  # fmt: skip


def test_an_erasure_that_the_audit_log_missed_is_recorded_by_the_next_call(
    shop: Shop, keys: MemorySubjectKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = sys.modules["config_customers"].bus
    with monkeypatch.context() as away:
        away.setattr(shop.backend.deliveries, "record", refuse_connection)
        away.setattr(bus.settings.__class__, "emit_timeout", 0.0)
        with pytest.raises(BusUnavailable):
            bus.erase("customer-42", actor="ann")
    assert not bus.erase("customer-42", actor="bob").is_new
    assert ["ann"] == [entry.note.actor for entry in audit_log(shop.backend)]


def test_code_without_keys_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"Pass EventBus\(subject_keys=\.\.\.\)"):
        EventBus(service="plain").erase("customer-42", actor="ann")


def refuse_connection(*args: object) -> None:
    raise redis.ConnectionError("reset")


def test_needs_a_bus_with_keys(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert 2 == run("erase", "a", "--yes").exit_code
    module = ModuleType("config_plain")
    module.bus = EventBus(service="plain")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "config_plain", module)
    answer = run("erase", "a", "-A", "config_plain", "--yes")
    assert 1 == answer.exit_code
    assert "the bus of plain has no subject_keys" in answer.err


def test_erased_data_is_shown_as_erased_with_its_request(
    shop: Shop, run: Run, keys: MemorySubjectKeys
) -> None:
    """On the pages of Flower and in commands, which read the audit log, and not the keys."""
    shop.on("billing.charge", "order.placed", function=refuse, retries=0)
    shop.start()
    bus = sys.modules["config_customers"].bus
    ids = {}
    for subject in ("customer-42", "customer-43"):
        event = bus.event("order.placed", {"card": "4111"}, subject=subject)
        ids[subject] = event.id
        shop.backend.event_log.append(
            "order", encode(encrypter(keys)(event, [SUBJECT])), EntryKind.MADE
        )
    shop.run_until_idle()
    matrix = Matrix(shop.backend)
    kept = f"encrypted for {keys.key_of('customer-43').id}"
    before = f"encrypted for {keys.key_of('customer-42').id}"
    assert before == read_event(matrix, ids["customer-42"], "", deep=False).event.data
    arguments = ("erase", "customer-42", "-A", "config_customers", "--reason", "request 7")
    assert 0 == run(*arguments, "--yes").exit_code
    [entry] = audit_log(shop.backend)
    erased = f"by {entry.note.actor}: request 7"
    for subject in ("customer-42", "customer-43"):
        shown = read_event(matrix, ids[subject], "", deep=False).event.data
        in_status = run("status", ids[subject]).out
        if subject == "customer-43":
            assert kept == shown and kept in in_status
        else:
            assert shown.startswith("erased at 20") and shown.endswith(erased)
            assert shown in in_status
    letters = read_dead(matrix, Choice(handler="billing.charge"), "").dead_letters
    shown = {letter.subject: letter.event["data"] for letter in letters}
    assert kept == shown["customer-43"]
    assert shown["customer-42"].endswith(erased)
    [name] = [letter.name for letter in letters if letter.subject == "customer-42"]
    assert erased in run("dead", "show", name).out
    listed = run("dead", "list", "--json").json
    assert {kept, shown["customer-42"]} == {letter["event"]["data"] for letter in listed}


def encrypter(keys: MemorySubjectKeys) -> Encrypter:
    return make_encrypter(Settings.load({}), keys)
