"""References of deliveries, as clients send them: forged ones never reach Redis."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.pull.reference import Reference, read_reference
from celeriac.pull.refusal import Invalid


def test_a_reference_is_read_as_it_was_written() -> None:
    reference = Reference("order", "1795418940081-0")
    assert read_reference(str(reference)) == reference


@pytest.mark.parametrize(
    "text",
    [
        None, 7, "", "order", "order/", "/1-0", "1-0", "order/1", "order/1-", "order/-1",
        "order/1-0-0", "order/1-0/2", "order.x/1-0", "or{der}/1-0", "order:x/1-0", "order\n/1-0",
        "order/1-0\n", "order/01-0", "order/1-00", "order/+1-0", "order/١-0", "order/$", "order/>",
        f"order/{2**64}-0", f"order/1-{2**64}", "x" * 300 + "/1-0", "order/*", "*/1-0",
    ],
)  # fmt: skip
def test_anything_else_is_refused(text: object) -> None:
    with pytest.raises(Invalid) as error:
        read_reference(text)
    assert error.value.field == "entry"


@given(st.text(max_size=40))
def test_what_is_accepted_is_a_plain_domain_and_entry(text: str) -> None:
    try:
        reference = read_reference(text)
    except Invalid:
        return
    assert str(reference) == text
    assert reference.domain.replace("_", "").replace("-", "").isascii()
    assert reference.entry.replace("-", "").isdigit()
