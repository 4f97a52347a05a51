"""Commands that name a tenant."""

from __future__ import annotations

import json

import pytest

from celeriac.dead_letter import audit_log
from celeriac.settings import Settings
from tests.unit.cli.conftest import Run, refuse
from tests.unit.tracking.shop import Shop


@pytest.fixture
def ids(shop: Shop) -> dict[str | None, str]:
    """One event of each tenant, and one without, each dead for billing."""
    shop.on("billing.charge", "order.*", retries=0, function=refuse)
    shop.start()
    ids = {tenant: shop.emit("order.placed", tenant=tenant) for tenant in ("acme", "globex", None)}
    shop.run_until_idle()
    return ids


def test_emit_sets_it_and_status_shows_it(run: Run) -> None:
    id = run("emit", "order.placed", "--tenant", "acme").out.strip()
    assert run("status", id, "--json").json[0]["tenant"] == "acme"
    assert "acme" in run("status", id).out
    assert "tenant" not in run("status", run("emit", "order.placed").out.strip()).out


def test_emit_refuses_a_wrong_one(run: Run) -> None:
    answer = run("emit", "order.placed", "--tenant", "a b")
    assert (answer.exit_code, answer.out) == (2, "")
    assert "`tenant` must not contain spaces" in answer.err


def test_emit_is_limited_by_the_setting(run: Run, shop: Shop) -> None:
    shop.settings = Settings.load({}, source="test", tenants="acme,globex")
    answer = run("emit", "order.placed", "--tenant", "initech")
    assert answer.exit_code == 2 and "CELERIAC_TENANTS" in answer.err
    assert run("emit", "order.placed", "--tenant", "globex").exit_code == 0


def test_events_are_filtered_by_it(run: Run, ids: dict[str | None, str]) -> None:
    for tenant in ("acme", "globex"):
        events = run("events", "--tenant", tenant, "--json").json
        assert [(event["id"], event["tenant"]) for event in events] == [(ids[tenant], tenant)]
    assert "No events." in run("events", "--tenant", "initech").out


def test_events_have_a_column_of_tenants_only_if_there_is_one(
    run: Run, ids: dict[str | None, str]
) -> None:
    heading = run("events").out.splitlines()[0]
    assert "tenant" in heading.split()
    assert "globex" in run("events").out


def test_events_without_tenants_have_no_such_column(run: Run, shop: Shop) -> None:
    shop.emit("order.placed")
    assert "tenant" not in run("events").out


def test_tail_follows_the_events_of_a_tenant(run: Run, ids: dict[str | None, str]) -> None:
    out = run("tail", "--since", "1h", "--limit", "1", "--tenant", "globex").out
    assert ids["globex"] in out and "globex" in out
    line = run("tail", "--since", "1h", "--limit", "1", "--tenant", "globex", "--json").out
    assert json.loads(line)["event"]["tenant"] == "globex"


def test_dead_letters_are_listed_by_it(run: Run, ids: dict[str | None, str]) -> None:
    [dead] = run("dead", "list", "--tenant", "acme", "--json").json
    assert dead["event"]["id"] == ids["acme"]
    shown = run("dead", "list").out
    assert "tenant" in shown.splitlines()[0].split()
    assert "globex" in shown


def test_dead_letters_of_a_tenant_are_redriven_together(
    run: Run, shop: Shop, ids: dict[str | None, str]
) -> None:
    answer = run("dead", "redrive", "--tenant", "acme", "--yes")
    assert "1 dead letter redriven" in answer.out
    remaining = {dead["event"]["id"] for dead in run("dead", "list", "--json").json}
    assert remaining == {ids["globex"], ids[None]}
    assert [entry.note.what for entry in audit_log(shop.backend)] == ["tenant=acme"]


def test_an_edit_cannot_move_an_event_to_another_tenant(
    run: Run, ids: dict[str | None, str]
) -> None:
    [dead] = run("dead", "list", "--tenant", "acme", "--json").json
    patch = '[{"op":"replace","path":"/tenant","value":"globex"}]'
    answer = run("dead", "edit", dead["name"], "--patch", patch, "--yes")
    assert answer.exit_code != 0
    assert "an edit cannot change tenant" in answer.err


def test_keys_are_made_for_it(run: Run, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = str(tmp_path_factory.mktemp("keys"))
    answer = run("keys", "generate", "shop", "--tenant", "acme", "--directory", folder)
    assert answer.exit_code == 0
    assert "acme" in run("keys", "show", f"{folder}/shop.public.json").out
    refused = run("keys", "generate", "x", "--tenant", "acme", "--encryption")
    assert refused.exit_code == 2


def test_explain_answers_for_an_event_of_a_tenant_before_it_is_emitted(
    run: Run, shop: Shop
) -> None:
    shop.on("billing.charge", "order.*", tenants=["acme"])
    shop.start()
    described = ("explain", "--type", "order.placed", "billing.charge")
    assert "tenant acme is among acme" in run(*described, "--tenant", "acme").out
    assert "tenant globex is not among acme" in run(*described, "--tenant", "globex").out
    assert "it has no tenant" in run(*described).out
    refused = run("explain", "an-id", "--tenant", "acme")
    assert refused.exit_code == 2 and "--type is missing" in refused.err


def test_a_replay_runs_the_events_of_a_tenant_only(run: Run, shop: Shop) -> None:
    """For example of a tenant that workers with older code skipped."""
    got: list[str | None] = []
    shop.on("billing.charge", "order.*", function=lambda event: got.append(event.tenant))
    shop.start()
    for tenant in ("acme", "globex", None):
        shop.emit("order.placed", tenant=tenant)
    shop.run_until_idle()
    got.clear()
    answer = run("replay", "billing.charge", "--since", "1h", "--tenant", "globex", "--yes")
    assert "1 event scheduled" in answer.out
    shop.run_until_idle()
    assert got == ["globex"]
    assert audit_log(shop.backend)[0].note.what.endswith(" tenant=globex")
