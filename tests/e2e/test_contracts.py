"""A newcomer's change of a contract, through the command line alone, as the how-to has it."""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from devtools.fork_server import CELERIAC, fork_server

pytestmark = pytest.mark.e2e

DOCS = Path(__file__).parents[2] / "docs"
ORDERS = """
import msgspec

from celeriac import EventBus
from celeriac.contract import contract

bus = EventBus(service="orders")


@contract("order.placed", version={version}, owner="orders")
class OrderPlaced(msgspec.Struct):
    number: int
    {field}: int
"""
BILLING = """
import msgspec

from celeriac import Event, EventBus

bus = EventBus(service="billing")


class Charge(msgspec.Struct):
    number: int
    cents: int


@bus.on("order.placed")
def charge_card(event: Event[Charge]) -> None: ...
"""
BILLING_V2 = """
import msgspec

from celeriac import Event, EventBus
from celeriac.contract import contract, upcast

bus = EventBus(service="billing")


@contract("order.placed", version=2, owner="orders")
class Charge(msgspec.Struct):
    number: int
    amount: int
{upcaster}

@bus.on("order.placed")
def charge_card(event: Event[Charge]) -> None: ...
"""
UPCASTER = """
@upcast("order.placed", 1)
def rename_cents(data):
    return {"number": data["number"], "amount": data["cents"]}
"""


@dataclass(frozen=True)
class Repository:
    directory: Path

    def write(self, name: str, text: str) -> None:
        (self.directory / name).write_text(text)

    def git(self, *arguments: str) -> None:
        who = ["-c", "user.name=n", "-c", "user.email=n@example.com"]
        subprocess.run(["git", *who, *arguments], cwd=self.directory, check=True)

    def contracts(self, *arguments: str, code: int = 0) -> str:
        # Bytecode is taken for that of a file of the same size and second, as another version has.
        env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        command = [*CELERIAC, "contracts", *arguments]
        done = fork_server().run(command, env=env, cwd=self.directory)
        assert code == done.returncode, done.stdout
        return done.stdout

    def check(self, service: str, *arguments: str, code: int = 0) -> str:
        return self.contracts(
            "check", "-A", service, "--against", "git:main", *arguments, code=code
        )


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """Two services on main, with their locks."""
    made = Repository(tmp_path)
    made.write("orders.py", ORDERS.format(version=1, field="cents"))
    made.write("billing.py", BILLING)
    made.git("init", "-q", "-b", "main")
    for service in ("orders", "billing"):
        assert "written" in made.contracts("lock", "-A", service)
    made.git("add", "-A")
    made.git("commit", "-qm", "Lock the contracts")
    made.git("checkout", "-qb", "rename")
    assert "Every reader takes every version" in made.check("orders")
    return made


def test_a_renamed_field_is_found_named_fixed_and_green(repository: Repository) -> None:
    # one renames a field
    repository.write("orders.py", ORDERS.format(version=1, field="amount"))
    said = repository.check("orders", code=1)
    assert "order.placed v1  changed since lock of orders without a new version number" in said
    assert "Set version=2 on the new model" in said

    # gives the new model a number of its own, and sees whom it breaks, and with which data
    repository.write("orders.py", ORDERS.format(version=2, field="amount"))
    repository.contracts("lock", "-A", "orders")
    said = repository.check("orders", code=1)
    assert "order.placed  v1 → v2  field cents removed; field amount added: integer" in said
    assert 'breaks billing.charge_card  (lock of billing)  {"amount":1,"number":1}' in said
    assert "'cents' is a required property" in said
    assert "→ make billing read version 2, with an @upcast from older versions" in said

    # the reader's code without an upcaster does not load
    repository.write("billing.py", BILLING_V2.format(upcaster=""))
    said = repository.contracts("lock", "-A", "billing", code=2)
    assert "no upcaster leads from version 1 of order.placed to 2" in said

    # with one, it reads the events of both versions
    repository.write("billing.py", BILLING_V2.format(upcaster=UPCASTER))
    stale = "billing.json does not match the code. Run `celeriac contracts lock -A billing`"
    assert stale in repository.check("billing", code=1)
    repository.contracts("lock", "-A", "billing")
    assert "Every reader takes every version" in repository.check("billing")
    assert "Every reader takes every version" in repository.check("orders")


def test_an_upcaster_that_forgets_a_case_is_found_by_its_data(repository: Repository) -> None:
    broken = UPCASTER.replace('data["cents"]', 'data["cent"]')
    repository.write("billing.py", BILLING_V2.format(upcaster=broken))
    repository.contracts("lock", "-A", "billing")
    said = repository.check("billing", code=1)
    assert 'breaks billing.charge_card  (code)  {"cents":1,"number":1}' in said
    assert "rename_cents (version 1 to 2) raised KeyError" in said
    assert "→ change @upcast('order.placed', 1) in billing" in said


def test_an_old_version_is_removed_in_two_merges(repository: Repository) -> None:
    """First it leaves the lock file on main, then the readers stop accepting it."""

    def merge(*services: str) -> None:
        for service in services:
            repository.contracts("lock", "-A", service)
        repository.git("commit", "-qam", "Merge")
        repository.git("branch", "-f", "main", "HEAD")

    repository.write("orders.py", ORDERS.format(version=2, field="amount"))
    repository.write("billing.py", BILLING_V2.format(upcaster=UPCASTER))
    merge("orders", "billing")
    newest_only = BILLING_V2.replace("version=2", "version=2, oldest=2").format(upcaster="")
    repository.write("billing.py", newest_only)
    repository.contracts("lock", "-A", "billing")
    said = repository.check("billing", code=1)
    assert "→ add @upcast('order.placed', 1) to billing. If no event of version 1 is left" in said
    assert "`celeriac contracts lock --forget order.placed:1`" in said

    repository.write("billing.py", BILLING_V2.format(upcaster=UPCASTER))
    repository.contracts("lock", "-A", "billing")
    repository.contracts("lock", "-A", "orders", "--forget", "order.placed:1")
    assert "Every reader takes every version" in repository.check("orders")
    merge()
    repository.write("billing.py", newest_only)
    repository.contracts("lock", "-A", "billing")
    assert "Every reader takes every version" in repository.check("billing")


def test_programs_get_the_same(repository: Repository) -> None:
    repository.write("orders.py", ORDERS.format(version=2, field="amount"))
    repository.contracts("lock", "-A", "orders")
    found: Any = json.loads(repository.check("orders", "--json", code=1))
    (one,) = found["breaks"]
    assert ("order.placed", 2, "billing.charge_card", "billing") == (
        one["type"],
        one["version"],
        one["handler"],
        one["service"],
    )
    assert {"amount": 1, "number": 1} == json.loads(one["example"])
    assert [] == found["changed"] == found["stale"]


def test_bad_input_gets_one_line_and_changes_nothing(repository: Repository) -> None:
    said = repository.contracts("check", "-A", "orders", "--against", "git:nowhere", code=2)
    assert "--against failed: git:nowhere" in said
    said = repository.contracts("check", "-A", "orders", "--against", "main", code=2)
    assert "Write git:REF, for example git:origin/main" in said
    lock = repository.directory / "contracts" / "billing.json"
    lock.write_text(lock.read_text().replace('"integer"', '"int'))
    before = lock.read_text()
    for command in ("lock", "check"):
        said = repository.contracts(command, "-A", "billing", code=2)
        assert "billing.json is not a valid lock file" in said
    assert before == lock.read_text()
    assert "module not found: nowhere" in repository.contracts("lock", "-A", "nowhere", code=2)
    assert "-A package.module" in repository.contracts("lock", code=2)
    repository.write("empty.py", "")
    said = repository.contracts("lock", "-A", "empty", code=2)
    assert "0 EventBus objects and no `bus`. Name a module that creates one" in said


def test_locks_of_another_repository_are_passed_with_a_directory(
    repository: Repository, tmp_path: Path
) -> None:
    """billing lives elsewhere: without its lock file, the check cannot know its handler."""
    elsewhere = tmp_path / "of-billing"
    elsewhere.mkdir()
    (repository.directory / "contracts" / "billing.json").rename(elsewhere / "billing.json")
    repository.write("orders.py", ORDERS.format(version=2, field="amount"))
    repository.contracts("lock", "-A", "orders")
    assert "Every reader takes every version" in repository.check("orders")
    said = repository.check("orders", "--with", str(elsewhere), code=1)
    assert "breaks billing.charge_card  (lock of billing)" in said
    said = repository.check("orders", "--with", "nowhere", code=2)
    assert "nowhere" in said


def checks_of_job(host: str) -> list[list[str]]:
    """Return the checks of the job for a host, from the how-to."""
    text = (DOCS / "how-to" / "change-a-contract.md").read_text()
    job = text.partition(f"On {host}:")[2].split("```")[1]
    return [line.split() for line in re.findall(r"celeriac (contracts check .*)", job)]


@pytest.mark.parametrize("host", ["GitHub", "GitLab"])
def test_the_job_in_the_docs_fails_on_a_break_and_passes_without(
    repository: Repository, host: str
) -> None:
    checks = checks_of_job(host)
    assert 2 == len(checks)
    repository.git("update-ref", "refs/remotes/origin/main", "main")

    def run(codes: tuple[int, int]) -> None:
        for command, code in zip(checks, codes, strict=True):
            repository.contracts(*command[1:], code=code)

    run((0, 0))
    repository.write("orders.py", ORDERS.format(version=2, field="amount"))
    repository.contracts("lock", "-A", "orders")
    run((1, 1))
