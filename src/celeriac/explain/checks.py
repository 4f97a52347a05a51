"""The ordered checks, from "was it emitted" to "processed"."""

from __future__ import annotations

from collections.abc import Iterator

from celeriac.explain.answer import Check, CheckResult, Explanation
from celeriac.explain.fact import Facts
from celeriac.explain.outcome import outcome_checks
from celeriac.explain.progress import progress_checks, readiness_checks
from celeriac.explain.reach import reach_checks
from celeriac.tracking import UNFINISHED, DeliveryState


def explain(facts: Facts) -> Explanation:
    """Return the checks in order, and the deciding one: the first that did not pass, or the last.

    After a failed check that keeps the event from reaching the handler, there are no more checks.
    """
    checks = tuple(_checks(facts))
    deciding = next(
        (n for n, check in enumerate(checks) if check.result is not CheckResult.PASSED),
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
        if check.result is CheckResult.FAILED:
            return
    if facts.event is None and facts.state is None:
        return
    if not facts.emitted:
        yield from readiness_checks(facts)
    elif facts.state in UNFINISHED:
        yield from progress_checks(facts, facts.state or DeliveryState.WAITING)
    else:
        yield from outcome_checks(facts)
