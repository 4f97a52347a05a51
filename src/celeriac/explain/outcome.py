"""Checks of a finished delivery, and of a missing one."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from celeriac.delivery import exception_of
from celeriac.event.encrypted import is_for_subject
from celeriac.explain.answer import Check, CheckResult, failed, passed, unknown
from celeriac.explain.command import edit_command, redrive, replay
from celeriac.explain.contract import remedy_of
from celeriac.explain.fact import Facts
from celeriac.explain.progress import share_checks, tenant_checks
from celeriac.time_text import duration, run_time, when
from celeriac.tracking import DeliveryState

# The checks that end a delivery before the handler runs, by the type of their error.
_REFUSED = {
    "UntrustedEvent": "signature",
    "EncryptionError": "key",
    "InvalidData": "data",
    "InvalidEvent": "data",
    "ContractTooNew": "contract",
}


def outcome_checks(facts: Facts) -> Iterator[Check]:
    state = facts.state
    if state is DeliveryState.SKIPPED:
        checks = (*tenant_checks(facts), *share_checks(facts))
        outside = [check for check in checks if check.result is CheckResult.FAILED]
        yield outside[0] if outside else _skipped(facts)
        return
    if state is DeliveryState.COALESCED:
        yield failed("coalesced", _at(_coalesced(facts), facts), replay(facts))
        return
    if state is DeliveryState.DEAD:
        yield from _dead(facts)
        return
    if state is DeliveryState.IGNORED:
        text = "ignored by the worker: the code that fetched it did not subscribe to it"
        yield failed("ignored", text, replay(facts))
        return
    if state is DeliveryState.FORGOTTEN:
        text = f"the record has expired; records are kept for {duration(facts.dedup_window_s)}"
        remedy = "celeriac config set dedup_window SECONDS, for later events"
        yield unknown("forgotten", text, remedy)
        return
    if state is DeliveryState.MISSING:
        yield _missing(facts)
        return
    if state is None:
        yield failed("subscribed", f"is not expected to get events of {facts.domain}", "")
        return
    if facts.record is not None and facts.record.when:
        yield passed("when", "when= accepted it")
    yield _processed(facts)


def _skipped(facts: Facts) -> Check:
    has_filter = facts.record is not None and facts.record.when
    fault = facts.key if isinstance(facts.key, str) else ""
    is_erasable = facts.event is not None and is_for_subject(facts.event)
    # The store does not have the reason. Without a filter, the erasure is the only possible one.
    if is_erasable and (fault or not has_filter):
        text = fault or "the key of its subject was erased"
        return failed("key", _at(f"skipped: {text}", facts), "")
    options = facts.record.options if facts.record is not None else {}
    selecting = [name for name in ("tenants", "share") if options.get(name)]
    if selecting and not options.get("when"):
        text = f"{' or '.join(f'{name}=' for name in selecting)} rejected it at that time"
        return failed(selecting[0].removesuffix("s"), _at(text, facts), replay(facts))
    if facts.record is not None and not facts.record.when:
        text = (
            "skipped: the handler raised Skip, or its pattern was removed before a worker with "
            "that code ran it"
        )
        return failed("skipped", _at(text, facts), replay(facts))
    remedy = _again("change when=", facts)
    return failed("when", _at("when= rejected it", facts), remedy)


def _coalesced(facts: Facts) -> str:
    into = facts.row.into if facts.row is not None else ""
    return f"debounced: entry {into} of the same key was handled instead"


def _processed(facts: Facts) -> Check:
    last = facts.row or facts.run
    parts = [] if last is not None and last.at_ms else ["done"]
    if last is not None and last.at_ms:
        parts.append(when(last.at_ms, now_ms=facts.now_ms))
    elif facts.run is None and facts.row is None:
        parts.append("and trimmed together with its record")
    if facts.attempts:
        parts.append(f"in attempt {facts.attempts}")
    if last is not None and last.took_us:
        parts.append(f"({run_time(last.took_us)})")
    if facts.run is not None and facts.run.worker:
        parts.append(f"by {facts.run.worker}")
    again = replay(facts) if facts.event is not None and facts.entry else ""
    return msgspec.structs.replace(passed("processed", " ".join(parts)), remedy=again)


def _dead(facts: Facts) -> Iterator[Check]:
    dead_letter, error = facts.dead_letter, facts.last_error
    error = dead_letter.error if dead_letter is not None else error
    name = _REFUSED.get(exception_of(error), "dead")
    edit = facts.history.restarts[-1] if facts.history.restarts else None
    if dead_letter is None and edit is not None and edit.edited:
        at = when(edit.at, now_ms=facts.now_ms)
        text = f"dead, and edited {at}: the event {edit.edited} replaces it"
        yield failed("edited", text, f"celeriac explain {edit.edited} {facts.handler}")
        return
    if dead_letter is None:
        text = _at(f"dead after {_attempts(facts.attempts)}: {error}", facts)
        yield failed(name, f"{text}; its dead letter was redriven, discarded or trimmed")
        return
    at = when(dead_letter.last_failed_ms, now_ms=facts.now_ms)
    attempts = _attempts(dead_letter.attempts)
    text = (
        f"dead letter {dead_letter.domain}/{dead_letter.id} since {at}, after {attempts}: {error}"
    )
    remedy = redrive(dead_letter.domain, dead_letter.id)
    if name in ("contract", "data") and facts.fits:
        now, fix = _readable_now(facts)
        text, remedy = text + now, fix + remedy
    if name == "data":
        remedy += f"; or correct the data: {edit_command(dead_letter.domain, dead_letter.id)}"
    yield failed(name, text, remedy)


def _readable_now(facts: Facts) -> tuple[str, str]:
    """Return whether registered readers can read it, and what to do before a redrive, as texts."""
    refused = [fit for fit in facts.fits if fit.is_refused]
    if refused:
        fix = f"{remedy_of(refused[0], facts)}, then: "
        return f"; registered readers cannot read it yet: {refused[0].reason}", fix
    if all(fit.is_checked for fit in facts.fits):
        return "; registered readers can read it now", ""
    return "", ""


def _missing(facts: Facts) -> Check:
    if facts.info is None:
        text = f"the consumer group in {facts.domain} was lost, and there is no record of the event"
        return failed(
            "missing", text, f"restart a worker of {_service(facts)}: it creates the group"
        )
    text = "there is no record of the delivery: Redis lost data, or a key was deleted"
    return failed("missing", text, replay(facts))


def _at(text: str, facts: Facts) -> str:
    if facts.row is None:
        return text
    return f"{text}, {when(facts.row.at_ms, now_ms=facts.now_ms)}"


def _again(first: str, facts: Facts) -> str:
    command = replay(facts)
    return f"{first}, deploy, then: {command}" if command else first


def _attempts(number: int) -> str:
    return "1 attempt" if number == 1 else f"{number} attempts"


def _service(facts: Facts) -> str:
    return facts.record.service if facts.record is not None else facts.handler.partition(".")[0]
