"""The name of a delivery in the protocol: `domain/entry`, such as `order/1795418940081-0`. Pure."""

from __future__ import annotations

from typing import NamedTuple

from celeriac.event.attributes import domain_fault
from celeriac.event_log import is_entry
from celeriac.pull.refusal import Invalid

MAX_REFERENCE = 300  # characters


class Reference(NamedTuple):
    """An entry of the event log of a domain."""

    domain: str
    entry: str

    def __str__(self) -> str:
        return f"{self.domain}/{self.entry}"


def read_reference(text: object) -> Reference:
    """Return the reference in `text`, which a client may have forged. Raises Invalid.

    Both parts are checked strictly, because they become parts of Redis keys and arguments.
    """
    if isinstance(text, str) and len(text) <= MAX_REFERENCE:
        domain, _, entry = text.partition("/")
        if not domain_fault(domain) and is_entry(entry) and _is_canonical(entry):
            return Reference(domain, entry)
    raise Invalid(
        "`entry` must be the `entry` of a fetched delivery, such as order/1795418940081-0",
        field="entry",
    )


def _is_canonical(entry: str) -> bool:
    """Return whether Redis writes the id like this: 64-bit numbers without leading zeros."""
    return all(int(number) < 2**64 and str(int(number)) == number for number in entry.split("-"))
