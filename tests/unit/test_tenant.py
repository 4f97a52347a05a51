"""Names of tenants."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from celeriac.tenant import MAX_TENANT, NO_TENANT, tenant_fault, tenant_names, tenants_fault


@pytest.mark.parametrize("name", ["acme", "a", "acme.eu/7", "é处理", "x" * MAX_TENANT])
def test_a_name_is_any_printable_text_without_spaces(name: str) -> None:
    assert not tenant_fault(name)


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("", "must not be empty"),
        (" ", "spaces"),
        ("a b", "spaces"),
        ("a\tb", "control characters"),
        ("a\n", "control characters"),
        ("a\x00", "control characters"),
        ("a\u00a0b", "spaces"),
        ("\ud800", "control characters"),
        ("a,b", "commas"),
        ("x" * (MAX_TENANT + 1), "101 characters long"),
        (7, "must be a string, got int"),
        (None, "must be a string"),
    ],
)
def test_any_other_name_has_a_fault(name: Any, fault: str) -> None:
    assert fault in tenant_fault(name)
    assert fault in tenants_fault(["acme", name])


def test_a_list_has_each_name_once_in_its_order() -> None:
    assert tenant_names(" globex, acme ,,globex") == ("globex", "acme")
    assert tenant_names(" , ") == ()


def test_the_absence_of_a_tenant_survives_copies() -> None:
    assert pickle.loads(pickle.dumps(NO_TENANT)) is NO_TENANT is copy.deepcopy(NO_TENANT)
