"""Checks whether the event reaches the handler, from emit to duplicate detection."""

from __future__ import annotations

from collections.abc import Iterator

from celeriac.event import Pattern
from celeriac.event_log import entry_time_ms
from celeriac.explain.answer import Check, failed, passed, unknown
from celeriac.explain.command import emit_for, replay
from celeriac.explain.fact import Facts
from celeriac.explain.mismatch import nearest
from celeriac.time_text import duration, when
from celeriac.visible import listed


def reach_checks(facts: Facts) -> Iterator[Check]:
    yield from _emitted(facts)
    yield _registered(facts)
    if facts.record is None or facts.event is None:
        return
    yield _pattern(facts)
    yield _addressed(facts)
    if facts.emitted:
        yield _subscribed(facts)
        if facts.repeats or (facts.row is not None and facts.row.entry != facts.entry):
            yield _duplicate(facts)


def _emitted(facts: Facts) -> Iterator[Check]:
    if not facts.emitted:
        return
    if facts.event is not None:
        by = f"by {facts.event.source}"
        at = when(facts.time_ms, now_ms=facts.now_ms)
        if facts.entry is None:
            yield passed("emitted", f"{by}, delayed to {at}")
        else:
            yield passed("emitted", f"{at} {by}, entry {facts.entry} of {facts.domain}")
        return
    kept = f"kept for {duration(facts.retention_s)} (CELERIAC_RETENTION)"
    if facts.row is not None:
        at = when(entry_time_ms(facts.row.entry), now_ms=facts.now_ms)
        yield passed("emitted", f"{at}, entry {facts.row.entry} of {facts.domain}")
        yield passed("retention", f"trimmed from the log; finished events are {kept}")
        return
    where = listed(facts.domains) or "any domain"
    if facts.is_partial:
        remedy = f"celeriac status {facts.event_id} --deep"
        yield unknown("emitted", f"not found near its time in the logs of {where}", remedy)
        return
    text = f"not in the logs of {where}: never emitted here, or trimmed; finished events are {kept}"
    yield failed("emitted", text, "emit it, or: celeriac config set retention SECONDS")


def _registered(facts: Facts) -> Check:
    record = facts.record
    if record is None:
        if facts.removed:
            text = f"{facts.handler} was removed by an operator, and gets no events"
            return failed("removed", text, "restart a worker that has it in its code")
        there = listed(facts.registered) or "none"
        text = f"no handler {facts.handler} is registered; registered: {there}"
        return failed("registered", text, "start a worker that has it: celery -A MODULE worker")
    if facts.from_code:
        text = f"{facts.handler} is in the code, but no worker has started with it yet"
        return passed("registered", text)
    at = when(record.registered_ms, now_ms=facts.now_ms) if record.registered_ms else ""
    return passed("registered", f"{at} by the service {record.service}".strip())


def _pattern(facts: Facts) -> Check:
    assert facts.record is not None
    assert facts.event is not None
    type_, record = facts.event.type, facts.record
    matching = next((text for text in record.patterns if Pattern(text).matches(type_)), None)
    if matching is not None:
        leaving = record.leaving.get(matching)
        old = ", which no running worker has in its code" if leaving else ""
        return passed("pattern", f"pattern {matching} matches {type_}{old}")
    retired = next((text for text in record.retired if Pattern(text).matches(type_)), None)
    if retired is not None:
        at = when(record.retired[retired], now_ms=facts.now_ms)
        text = f"pattern {retired} matched {type_} until it was removed {at}"
    else:
        closest, why = nearest(record.patterns, type_)
        text = f"pattern {closest} does not match {type_}: {why}"
        if len(record.patterns) > 1:
            text += f" (the closest of {len(record.patterns)})"
    if facts.row is not None:
        return passed("pattern", f"{text}; it was delivered before")
    return failed("pattern", text, f'change @bus.on of {facts.handler}: "{type_}"')


def _addressed(facts: Facts) -> Check:
    assert facts.event is not None
    names = facts.event.handlers
    if not names:
        return passed("addressed", "addressed to every handler")
    if facts.handler in names:
        return passed("addressed", f"addressed to {listed(names)} (handlers=)")
    text = f"addressed only to {listed(names)} (handlers=)"
    return failed("addressed", text, emit_for(facts.handler, facts.event.type))


def _subscribed(facts: Facts) -> Check:
    """Check whether the handler was subscribed when the entry was appended."""
    assert facts.record is not None
    since = facts.record.since.get(facts.domain)
    if facts.subscribed or facts.row is not None:
        if since is None:
            text = f"is not subscribed to {facts.domain} yet, and will begin with its first event"
        elif entry_time_ms(since) == 0:
            text = f"subscribed to {facts.domain} since its first event"
        else:
            joined = when(entry_time_ms(since), now_ms=facts.now_ms)
            text = f"subscribed to {facts.domain} since {joined}"
        if not facts.subscribed:
            text += "; the event is older, and was replayed"
        return passed("subscribed", text)
    added = {
        text: at
        for text, at in facts.record.added.items()
        if facts.event and Pattern(text).matches(facts.event.type)
    }
    if added and facts.time_ms is not None and facts.time_ms < min(added.values()):
        pattern = min(added, key=lambda text: added[text])
        text = (
            f"pattern {pattern} was added {when(added[pattern], now_ms=facts.now_ms)}, after "
            "the event"
        )
    else:
        joined = when(entry_time_ms(since or "0-0"), now_ms=facts.now_ms)
        text = f"subscribed to {facts.domain} since {joined}, after the event (start=)"
    return failed("subscribed", text, replay(facts))


def _duplicate(facts: Facts) -> Check:
    assert facts.event is not None
    entry = facts.row.entry if facts.row is not None else facts.original
    named = f"entry {entry}" if entry else "an earlier entry"
    state = f", which is {facts.state}" if facts.row is not None and facts.state else ""
    window = f"{duration(facts.dedup_window_s)} (CELERIAC_DEDUP_WINDOW)"
    text = f"repeats {named}{state}: the same id and source within {window}"
    return failed("duplicate", text, "emit it with another id")
