"""The test vectors of docs/reference/pull-protocol.md, against the routes of a gateway."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from celeriac import EventBus
from celeriac.gateway import Token, gateway
from celeriac.testing.store import Store
from tests.unit.gateway.conftest import ask, end

FILE = Path(__file__).parents[3] / "docs" / "reference" / "pull-protocol-vectors.json"
VECTORS = json.loads(FILE.read_text())
SECRET = "secret-of-the-search-service"


@pytest.mark.parametrize(
    "scenario", VECTORS["scenarios"], ids=[scenario["name"] for scenario in VECTORS["scenarios"]]
)
def test_the_routes_answer_as_in_the_vectors(
    bus: EventBus, store: Store, scenario: dict[str, Any]
) -> None:
    handlers = [VECTORS["token"].removeprefix("handlers: ")]
    app = gateway(bus, tokens=[Token("search", SECRET, handlers=handlers)])
    bound: dict[str, Any] = {}
    for number, step in enumerate(scenario["steps"], 1):
        if "emit" in step:
            store.event_log.append("order", json.dumps(step["emit"]).encode())
            continue
        if "pass" in step:
            store.clock.advance(step["pass"] * 1000)
            continue
        method, path = step["request"].split(" ")
        body = step.get("body")
        token = step.get("token", SECRET)
        response = ask(
            app,
            method,
            path,
            content=None if body is None else json.dumps(filled(body, bound)),
            headers={"authorization": f"Bearer {token}"} if token else {},
        )
        where = f"step {number}, {step['request']}"
        assert response.status_code == step["status"], f"{where}: {response.text}"
        if "answer" in step:
            check(response.json(), step["answer"], bound, where)
    end(app)


def filled(value: Any, bound: dict[str, Any]) -> Any:
    """The value with bound names replaced."""
    if isinstance(value, dict):
        return {name: filled(member, bound) for name, member in value.items()}
    if isinstance(value, list):
        return [filled(item, bound) for item in value]
    return bound.get(value, value) if isinstance(value, str) else value


def check(given: Any, wanted: Any, bound: dict[str, Any], where: str) -> None:
    """Check an answer; bind its names."""
    if isinstance(wanted, dict):
        assert isinstance(given, dict), where
        for name, member in wanted.items():
            if member is None:
                assert name not in given, f"{where}: {name}"
            else:
                assert name in given, f"{where}: {name}"
                check(given[name], member, bound, f"{where}: {name}")
    elif isinstance(wanted, list):
        assert len(given) == len(wanted), f"{where}: {given}"
        for item, expected in zip(given, wanted, strict=True):
            check(item, expected, bound, where)
    elif isinstance(wanted, str) and wanted.startswith("$") and wanted != "$*":
        assert bound.setdefault(wanted, given) == given, where
    elif wanted != "$*":
        assert given == wanted, where


def test_a_name_that_differs_later_is_noticed() -> None:
    bound: dict[str, Any] = {}
    check({"entry": "x"}, {"entry": "$a"}, bound, "")
    for given, wanted in (
        ({"entry": "y"}, {"entry": "$a"}),
        ({}, {"entry": "$*"}),
        ({"entry": 1}, {"entry": None}),
        ([1], []),
        ({"n": 1}, {"n": 2}),
    ):
        with pytest.raises(AssertionError):
            check(given, wanted, bound, "")
