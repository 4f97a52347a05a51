"""Descriptions of the states of a delivery, for CLI, Flower, JSON, metrics and docs."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from celeriac.delivery import DeliveryState

MEANINGS: Mapping[DeliveryState, str] = MappingProxyType(
    {
        DeliveryState.WAITING: "in the log, not fetched for the handler yet",
        DeliveryState.QUEUED: "given to a worker",
        DeliveryState.RUNNING: "the handler runs",
        DeliveryState.SCHEDULED: "runs at a later time: a retry, or requeued",
        DeliveryState.BLOCKED: "waits for its key: a slot, the rate, its turn, or debounce",
        DeliveryState.PROCESSED: "the handler succeeded",
        DeliveryState.SKIPPED: "rejected by when=, tenants= or share=",
        DeliveryState.COALESCED: "another event of its key was handled instead",
        DeliveryState.IGNORED: "not for this handler",
        DeliveryState.DEAD: "a dead letter: all attempts failed",
        DeliveryState.MISSING: "the handler should have processed it, but there is no record",
        DeliveryState.FORGOTTEN: "older than the records (CELERIAC_DEDUP_WINDOW)",
    }
)


def state_of(owner: str) -> DeliveryState:
    """Return the state from the owner of a pending entry, for example `queued:WORKER`."""
    return DeliveryState(owner.partition(":")[0])


UNFINISHED = frozenset(
    {
        DeliveryState.WAITING,
        DeliveryState.QUEUED,
        DeliveryState.RUNNING,
        DeliveryState.SCHEDULED,
        DeliveryState.BLOCKED,
    }
)
IN_FLIGHT = UNFINISHED - {DeliveryState.WAITING}
