"""Who had what done: the note that goes into the same call as the act, and how it is read."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from itertools import islice

import msgspec

from celeriac.delivery import Audited, Restart
from celeriac.event_log import entry_key
from celeriac.store.factory import Backend


class Note(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`who` is a user of Flower or of the machine; `did` a verb; `what` names it for people; acts
    of one `operation` belong together. `reason` is why, in the words of `who`;
    `diff` is what an edit changed, masked, as RFC 6902."""

    who: str
    did: str
    what: str
    via: str = "flower"
    operation: str = ""
    reason: str = ""
    diff: str = ""

    def encode(self) -> bytes:
        return msgspec.json.encode(self)

    @classmethod
    def decode(cls, raw: bytes | str) -> Note:
        """Return the note; one that is not JSON becomes its `what`."""
        try:
            return msgspec.json.decode(raw, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError):
            text = raw if isinstance(raw, str) else raw.decode(errors="replace")
            return cls(who="", did="", what=text, via="")

    @property
    def text(self) -> str:
        """`redrive by alice in flower`; empty where it names no one."""
        by = [f"by {self.who}" if self.who else "", f"in {self.via}" if self.via else ""]
        return " ".join(filter(None, [self.did, *by]))


def restart_text(restart: Restart) -> str:
    """Return what began another life of a delivery, and why: `redrive by alice in flower: bank is
    open again`."""
    note = Note.decode(restart.note)
    text = note.text or "redriven"
    return f"{text}: {note.reason}" if note.reason else text


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """Acts of one operation in one domain, summed. `at_ms` is when the last was."""

    id: str
    domain: str
    at_ms: int
    count: int
    note: Note


# In place of a domain, for what concerns the whole bus. No event type begins with it.
BUS = "*"


def record_setting(backend: Backend, *, who: str, what: str) -> None:
    """Write to the audit log that a setting of the bus was changed."""
    note = Note(who=who, did="set", what=what, via="celeriac")
    backend.deliveries.record(BUS, note.encode())


def acts(backend: Backend, *, count: int = 200) -> list[Act]:
    """What people did lately in every domain, the newest first; reads `count` records of each."""
    domains = sorted(backend.event_log.domains() | {BUS})
    found = heapq.merge(
        *(backend.deliveries.audit_log(domain, count=count) for domain in domains),
        key=lambda one: entry_key(one.id),
        reverse=True,
    )
    return _summed(islice(found, count))


def _summed(found: Iterable[Audited]) -> list[Act]:
    answer: dict[tuple[str, ...], Act] = {}
    for one in found:
        note = Note.decode(one.note)
        key = (note.operation, note.did, note.what) if note.operation else (one.domain, one.id)
        first = answer.get(key)
        if first is not None:
            answer[key] = msgspec.structs.replace(first, count=first.count + one.count)
            continue
        at_ms = entry_key(one.id)[0]
        answer[key] = Act(id=one.id, domain=one.domain, at_ms=at_ms, count=one.count, note=note)
    return list(answer.values())
