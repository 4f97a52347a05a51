"""Names of tenants: which are valid, which are allowed, and lists of them in settings. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from enum import Enum
from typing import Final

MAX_TENANT: Final = 100  # characters
# `@acme` among the patterns of a handler's code: it gets the events of acme. Alone: of all tenants,
# and those without one. Code without `tenants=` needs no mark. No pattern begins with it.
ALL_TENANTS: Final = "@"


class NoTenant(Enum):
    """The type of `NO_TENANT`."""

    NO_TENANT = "no tenant"


NO_TENANT: Final = NoTenant.NO_TENANT
"""Pass it as `tenant=` to emit an event without a tenant, although the handled event has one."""


def tenant_fault(value: object) -> str:
    """Return the fault of a tenant's name as the end of a sentence; empty for a valid name.

    Settings separate names by commas, and records by spaces, so a name has neither.
    """
    if type(value) is not str:
        return f"must be a string, got {type(value).__name__}"
    if not value:
        return "must not be empty; omit it instead"
    if len(value) > MAX_TENANT:
        return f"is {len(value):,} characters long, at most {MAX_TENANT} are allowed"
    if not value.isprintable() or " " in value or "," in value:
        return "must not contain spaces, commas or control characters"
    return ""


def tenants_fault(names: Iterable[object]) -> str:
    """Return the fault of the first invalid name, after the name; empty if all are valid."""
    for name in names:
        if fault := tenant_fault(name):
            return f"{name!r} {fault}"
    return ""


def is_excluded(tenant: str | None, allowed: Collection[str] | None) -> bool:
    """Return whether events of the tenant are not `allowed`; None allows all events."""
    return allowed is not None and tenant not in allowed


def tenant_names(text: str) -> tuple[str, ...]:
    """Return the names in a comma-separated list, each once, in their order."""
    return tuple(dict.fromkeys(filter(None, map(str.strip, text.split(",")))))


def is_tenant_mark(text: str) -> bool:
    """Return whether the text is a mark among patterns."""
    return text.startswith(ALL_TENANTS)


def tenant_marks(tenants: Collection[str] | None) -> tuple[str, ...]:
    """Return the marks of code with this `tenants=`."""
    return tuple(sorted(ALL_TENANTS + name for name in tenants or ()))


def all_marks(texts: Iterable[str]) -> frozenset[str]:
    """Return the marks among the texts, ALL_TENANTS if there is none."""
    return frozenset(filter(is_tenant_mark, texts)) or frozenset({ALL_TENANTS})


def needed_marks(marks: Collection[str]) -> tuple[str, ...]:
    """Return the marks in order; none if they are ALL_TENANTS only."""
    return () if {*marks} == {ALL_TENANTS} else tuple(sorted(marks))


def other_interests(in_force: Sequence[str], code: Iterable[str]) -> frozenset[str]:
    """Return the patterns and marks in force that the code does not have.

    They are those of other versions; none if none are recorded in force.
    """
    if not in_force:
        return frozenset()
    interests = frozenset(code)
    return (frozenset(in_force) | all_marks(in_force)) - interests - all_marks(interests)


def has_tenant(marks: Collection[str], tenant: str | None) -> bool:
    """Return whether code with these marks gets the events of the tenant."""
    return ALL_TENANTS in marks or (tenant is not None and ALL_TENANTS + tenant in marks)


def interest_text(text: str) -> str:
    """Describe a pattern or a mark: `pattern order.*`, `tenant acme` or `registration for …`."""
    if not is_tenant_mark(text):
        return f"pattern {text}"
    name = text.removeprefix(ALL_TENANTS)
    return f"tenant {name}" if name else "registration for all tenants"


def is_for_other_code(
    tenant: str | None, allowed: Collection[str] | None, others: Collection[str]
) -> bool:
    """Return whether events of the tenant are not `allowed`, but other versions get them."""
    return is_excluded(tenant, allowed) and has_tenant(others, tenant)
