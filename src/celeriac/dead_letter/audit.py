"""Notes of actions: written in the same call as the action, and read as the audit log."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from itertools import islice

import msgspec

from celeriac.delivery import Audited, Restart
from celeriac.event_log import entry_key
from celeriac.store.factory import Backend
from celeriac.unreadable import UNREADABLE


class Note(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The note of an action.

    `actor` is a user of Flower or of the machine, `did` the action, `what` its subject. Notes of
    one `operation` belong together. `reason` is given by the actor; `diff` is the masked difference
    of an edit as RFC 6902; `key` is the id of a key that was erased.
    """

    actor: str
    did: str
    what: str
    via: str = "flower"
    operation: str = ""
    reason: str = ""
    diff: str = ""
    key: str = ""

    def encode(self) -> bytes:
        return msgspec.json.encode(self)

    @classmethod
    def decode(cls, raw: bytes | str) -> Note:
        """Return the decoded note; a text that is not JSON becomes its `what`."""
        try:
            return msgspec.json.decode(raw, type=cls)
        except UNREADABLE:
            text = raw if isinstance(raw, str) else raw.decode(errors="replace")
            return cls(actor="", did="", what=text, via="")

    @property
    def text(self) -> str:
        """For example `redrive by alice in flower`; empty without an actor."""
        by = [f"by {self.actor}" if self.actor else "", f"in {self.via}" if self.via else ""]
        return " ".join(filter(None, [self.did, *by]))


def restart_text(restart: Restart) -> str:
    """Describe a restart: `redrive by alice in flower: bank is open again`."""
    note = Note.decode(restart.note)
    text = note.text or "redriven"
    return f"{text}: {note.reason}" if note.reason else text


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """The actions of one operation in one domain. `at_ms` is the time of the last."""

    id: str
    domain: str
    at_ms: int
    count: int
    note: Note


# Used instead of a domain for actions on the bus. No event type begins with it.
BUS = "*"
ERASE = "erase"


def record_action(backend: Backend, note: Note) -> None:
    """Write an action on a handler or on the bus to the audit log."""
    backend.deliveries.record(BUS, note.encode())


def record_setting(backend: Backend, *, actor: str, what: str) -> None:
    """Write a change of a bus setting to the audit log."""
    record_action(backend, Note(actor=actor, did="set", what=what, via="celeriac"))


def audit_log(backend: Backend, *, count: int = 200) -> list[AuditEntry]:
    """Return the latest actions in all domains, newest first; reads `count` records per domain."""
    domains = sorted(backend.event_log.domains() | {BUS})
    notes = heapq.merge(
        *(backend.deliveries.audit_log(domain, count=count) for domain in domains),
        key=lambda note: entry_key(note.id),
        reverse=True,
    )
    return _summed(islice(notes, count))


def _summed(records: Iterable[Audited]) -> list[AuditEntry]:
    answer: dict[tuple[str, ...], AuditEntry] = {}
    for record in records:
        note = Note.decode(record.note)
        key = (
            (note.operation, note.did, note.what) if note.operation else (record.domain, record.id)
        )
        first = answer.get(key)
        if first is not None:
            answer[key] = msgspec.structs.replace(first, count=first.count + record.count)
            continue
        at_ms = entry_key(record.id)[0]
        answer[key] = AuditEntry(
            id=record.id, domain=record.domain, at_ms=at_ms, count=record.count, note=note
        )
    return list(answer.values())
