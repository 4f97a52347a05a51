"""Derived ids are the same for the same effect, and differ for every other one."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from celeriac.event import made_ms
from celeriac.process.identity import derived_id

PARTS = st.tuples(st.text(), st.text(), st.text(), st.text())


@given(PARTS, PARTS)
def test_ids_are_equal_only_for_equal_parts(
    one: tuple[str, str, str, str], other: tuple[str, str, str, str]
) -> None:
    assert (derived_id(*one) == derived_id(*other)) == (one == other)


def test_parts_do_not_run_into_each_other() -> None:
    assert derived_id("a", "bc", "d", "e") != derived_id("ab", "c", "d", "e")


def test_an_id_is_a_uuid_of_version_8_that_emit_did_not_make() -> None:
    id = derived_id("shop.fulfilment", "order-42", "event", "emit 1")
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", id)
    assert (id[14], id[19] in "89ab", made_ms(id)) == ("8", True, 0)


def test_ids_stay_the_same_in_all_versions() -> None:
    """A repetition of an event that older code handled emits the same ids."""
    assert "bcb8fef4-b000-8e4e-94b1-ad2fe1de8081" == derived_id(
        "shop.fulfilment", "order-42", "event", "emit 5"
    )
    assert "e18186b2-7b8c-8974-b803-2065017faca6" == derived_id("a", "", "\ud800", "ü")
