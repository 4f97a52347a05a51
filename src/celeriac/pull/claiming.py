"""Claim fetched deliveries for a client, with the checks of an executor before a run."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from celeriac.delivery import Claimed, ClaimResult, Completion, Group
from celeriac.delivery.pending_reply import PendingReply, ReceivedReply
from celeriac.dispatcher.chunk import Item
from celeriac.event import encode
from celeriac.executor.signed_duplicates import claim_results, find_signed_duplicates
from celeriac.executor.work import Work
from celeriac.pull.pull_state import PullState
from celeriac.pull.pulled import PulledDelivery
from celeriac.pull.reference import Reference


def claim_deliveries(
    state: PullState, group: Group, items: Sequence[Item], now_ms: int
) -> list[PulledDelivery]:
    """Return the deliveries that the handler gets, in the order of the items.

    Duplicates, refused events and deliveries without attempts left are completed. `now_ms` is a
    time of the server before the claim, from which the leases are counted. Blocks for round trips;
    raises redis.RedisError.
    """
    if not items:
        return []
    keys = {item.entry: item.event.key for item in items}
    work = _work(state, group)
    claimed = _claimed(state, group, items)
    if state.handler.signed:
        claimed = _without_copies(state, work, group, claimed)
    order = {item.entry: number for number, item in enumerate(items)}
    claimed.sort(key=lambda claim: order[claim.entry])
    deadline_ms = now_ms + state.lease_ms
    pulled = []
    for claim in claimed:
        event = work.read(claim, keys[claim.entry])
        if event is not None:
            reference = Reference(group.domain, claim.entry)
            body = encode(event, valid=True)
            pulled.append(PulledDelivery(reference, claim.attempt, deadline_ms, body))
    work.reporter.flush()
    return pulled


def _claimed(state: PullState, group: Group, items: Sequence[Item]) -> list[Claimed]:
    deliveries, handler = state.context.service.backend.deliveries, state.handler
    fresh = [item for item in items if not item.attempts]
    # A delivery that began before is claimed only if it is the only one.
    calls = [fresh, *([item] for item in items if item.attempts)]
    claimed: list[Claimed] = []
    for call in calls:
        claimed += deliveries.claim(
            state.context.worker,
            group,
            [(item.entry, item.event.key) for item in call],
            handler.failure.max_attempts,
            verifies=handler.signed,
        )
    return claimed


def _without_copies(
    state: PullState, work: Work, group: Group, claimed: Sequence[Claimed]
) -> list[Claimed]:
    """Return the claims, with the results for entries that repeat a verified event."""
    process = state.context.process
    bodies = [(claim.entry, claim.body) for claim in claimed if claim.result is ClaimResult.RUN]
    copies = find_signed_duplicates(process, group, work.admission, bodies)
    results = claim_results(process, group, copies)
    return [replace(claim, result=results.get(claim.entry, claim.result)) for claim in claimed]


def _work(state: PullState, group: Group) -> Work:
    deliveries, worker = state.context.service.backend.deliveries, state.context.worker

    def complete(completions: Sequence[Completion]) -> PendingReply[list[str]]:
        return ReceivedReply(deliveries.complete(worker, group, completions))

    return state.context.process.work(state.handler, group.domain, {}, complete)
