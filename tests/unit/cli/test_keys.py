"""celeriac keys"""

from __future__ import annotations

import json
from pathlib import Path

from tests.unit.cli.conftest import Run


def test_a_pair_is_made_the_private_part_for_its_owner_alone(run: Run, tmp_path: Path) -> None:
    made = run(
        "keys", "generate", "orders-1", "--source", "orders", "--type", "order.#",
        "--directory", f"{tmp_path}/new",
    )  # fmt: skip
    private, public = (Path(line) for line in made.out.split())
    assert private.stat().st_mode & 0o777 == 0o600
    key = json.loads(public.read_text())
    assert (key["kid"], key["sources"], key["types"]) == ("orders-1", ["orders"], ["order.#"])
    assert "d" in json.loads(private.read_text()) and "d" not in key
    shown = run("keys", "show", str(public)).out
    assert "orders-1  signs  orders   order.#" in shown


def test_a_key_that_is_there_is_not_overwritten(run: Run, tmp_path: Path) -> None:
    for code in (0, 1):
        made = run("keys", "generate", "a", "--directory", str(tmp_path))
        assert made.exit_code == code
    assert "file already exists" in made.err


def test_keys_to_encrypt_for_are_not_bound_to_sources(run: Run, tmp_path: Path) -> None:
    refused = run("keys", "generate", "a", "--encryption", "--source", "x")
    assert refused.exit_code == 2 and "not allowed with --encryption" in refused.err
    run("keys", "generate", "b", "--encryption", "--directory", str(tmp_path))
    assert "is encrypted for" in run("keys", "show", str(tmp_path)).out


def test_with_nothing_trusted_there_is_nothing_to_show(run: Run) -> None:
    answer = run("keys", "show")
    assert answer.exit_code == 1 and "CELERIAC_TRUSTED_KEYS" in answer.err


def test_a_key_to_encrypt_for_may_be_of_a_service_of_another_name(run: Run, tmp_path: Path) -> None:
    refused = run("keys", "generate", "a", "--service", "billing")
    assert refused.exit_code == 2 and "needs --encryption" in refused.err
    run(
        "keys", "generate", "billing-2026", "--encryption", "--service", "billing",
        "--directory", str(tmp_path),
    )  # fmt: skip
    assert "is encrypted for billing " in run("keys", "show", str(tmp_path)).out
