"""The ordered checks from "was it emitted" to "processed". Pure."""

from __future__ import annotations

from collections.abc import Iterator

from celeriac.explain.answer import Check, Explanation, Verdict
from celeriac.explain.fact import Facts
from celeriac.explain.outcome import outcome_checks
from celeriac.explain.progress import progress_checks, readiness_checks
from celeriac.explain.reach import reach_checks
from celeriac.tracking import UNFINISHED, DeliveryState


def explain(facts: Facts) -> Explanation:
    """Return the checks in their order, with the deciding one: the first that is not passed, or the
    last. Nothing is checked after one that failed because the event does not reach the handler."""
    checks = tuple(_checks(facts))
    deciding = next(
        (n for n, check in enumerate(checks) if check.verdict is not Verdict.PASSED),
        len(checks) - 1,
    )
    event = facts.event
    return Explanation(
        id=facts.event_id,
        handler=facts.handler,
        type=event.type if event is not None else "",
        source=event.source if event is not None else "",
        subject=event.subject if event is not None else None,
        domain=facts.domain,
        entry=facts.entry,
        time_ms=facts.time_ms,
        state=facts.state,
        checks=checks,
        deciding=deciding,
    )


def _checks(facts: Facts) -> Iterator[Check]:
    for check in reach_checks(facts):
        yield check
        if check.verdict is Verdict.FAILED:
            return
    if facts.event is None and facts.state is None:
        return
    if not facts.emitted:
        yield from readiness_checks(facts)
    elif facts.state in UNFINISHED:
        yield from progress_checks(facts, facts.state or DeliveryState.WAITING)
    else:
        yield from outcome_checks(facts)
