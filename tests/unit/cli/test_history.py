"""celeriac history: all lives of a delivery, with who began each and why."""

from __future__ import annotations

from celeriac.dead_letter import audit_log
from celeriac.store.memory.clock import MemoryClock
from tests.unit.cli.conftest import Run, refuse
from tests.unit.tracking.shop import Shop


def redriven(shop: Shop, run: Run) -> str:
    shop.on("billing.charge", "order.placed", retries=1, backoff=0.0, function=refuse)
    shop.on("mail.send", "order.placed")
    shop.start()
    id = shop.emit("order.placed", subject="order/1")
    for _ in range(3):
        shop.run_until_idle()
    assert 0 == run("dead", "redrive", "--all", "--yes", "--reason", "the bank is open").exit_code
    for _ in range(3):
        shop.run_until_idle()
    return id


def test_every_attempt_of_every_life_is_there_in_order(shop: Shop, run: Run) -> None:
    id = redriven(shop, run)
    [found] = run("history", id, "billing.charge", "--json").json
    steps = [(step["did"], step["life"], step["attempt"]) for step in found["steps"]]
    assert steps == [
        ("emitted", 1, None),
        ("failed", 1, 1),
        ("failed", 1, 2),
        ("redrive", 2, None),
        ("failed", 2, 1),
        ("dead", 2, 2),
    ]
    redrive = found["steps"][3]
    assert redrive["actor"] and "celeriac" == redrive["via"]
    assert "the bank is open" == redrive["reason"]
    assert redrive["at"].endswith("Z")


def test_it_names_the_actor_and_the_reason_of_a_redrive(shop: Shop, run: Run) -> None:
    id = redriven(shop, run)
    out = run("history", id).out
    lines = [line.strip() for line in out.splitlines()]
    at = next(n for n, line in enumerate(lines) if "redrive" in line)
    assert lines[at].endswith("in celeriac") and "the bank is open" == lines[at + 1]
    assert 4 == out.count("ValueError: declined")
    assert "mail.send" in out
    assert "in celeriac: the bank is open" in run("status", id).out
    assert "the bank is open" == audit_log(shop.backend)[0].note.reason


def test_a_delivery_under_way_ends_the_history(shop: Shop, run: Run, clock: MemoryClock) -> None:
    shop.on("billing.charge", "order.placed", backoff=600.0, function=refuse)
    shop.start()
    id = shop.emit("order.placed")
    shop.run_until_idle()
    [found] = run("history", id, "--json").json
    assert ["emitted", "failed", "scheduled"] == [step["did"] for step in found["steps"]]
    assert found["steps"][-1]["due_ms"] > clock.now_ms()
    delayed = shop.emit("order.placed", delay=60)
    [found] = run("history", delayed, "--json").json
    assert "delayed" == found["steps"][0]["did"]


def test_it_names_the_actor_of_a_replay(shop: Shop, run: Run) -> None:
    id = redriven(shop, run)
    answer = run("replay", "billing.charge", "--since", "1h", "--yes", "--reason", "new price list")
    assert "1 event scheduled" in answer.out
    shop.run_until_idle()
    assert "new price list" in run("history", id).out
    [act] = [act for act in audit_log(shop.backend) if act.note.did == "replay"]
    assert act.note.what.startswith("billing.charge since ")
    assert 1 == act.count


def test_what_was_processed_before_a_replay_stays_in_the_history(shop: Shop, run: Run) -> None:
    shop.on("billing.charge", "order.placed", ordered=True)
    shop.start()
    id = shop.emit("order.placed", subject="order/1")
    shop.run_until_idle()
    run("replay", "billing.charge", "--since", "1h", "--yes")
    [found] = run("history", id, "--json").json
    assert ["emitted", "processed", "replay", "scheduled"] == [s["did"] for s in found["steps"]]
    shop.run_until_idle()
    [found] = run("history", id, "--json").json
    steps = [(step["did"], step["life"]) for step in found["steps"][1:]]
    assert [("processed", 1), ("replay", 2), ("processed", 2)] == steps


def test_an_unknown_handler_is_refused(shop: Shop, run: Run) -> None:
    id = redriven(shop, run)
    answer = run("history", id, "billing.nope")
    assert 1 == answer.exit_code
    assert (
        "handler not found: billing.nope. Registered handlers: billing.charge, mail.send."
        in answer.err
    )
