"""What is shown instead of data whose key was erased, by the audit log."""

from __future__ import annotations

from collections.abc import Set
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from celeriac.dead_letter.audit import BUS, ERASE, Note
from celeriac.errors import InvalidEvent
from celeriac.event import RawEvent, decode, masked_envelope
from celeriac.event.encrypted import subject_key_of
from celeriac.event_log import entry_time_ms
from celeriac.store.factory import Backend

PAGE = 1000


class ErasedData:
    """Reads the audit log once, when the first event needs it. For one page or one command."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def text_of(self, event: RawEvent) -> str | None:
        """Return `erased at … by ann: request 7`; None if the audit log has no such erasure.

        Blocks for round trips if the data was encrypted with the key of a subject.
        """
        key = subject_key_of(event)
        return None if key is None else self._texts.get(key)

    def has(self, key_id: str) -> bool:
        """Return whether the audit log has the erasure of this key. Blocks for round trips."""
        return key_id in self._texts

    def envelope(self, raw: bytes, names: Set[str]) -> Any:
        """Return an encoded event as `masked_envelope` does, with this text as erased data."""
        shown = masked_envelope(raw, names)
        try:
            text = self.text_of(decode(raw))
        except InvalidEvent:
            return shown
        return shown if text is None else {**shown, "data": text}

    @cached_property
    def _texts(self) -> dict[str, str]:
        texts: dict[str, str] = {}
        before = ""
        while page := self._backend.deliveries.audit_log(BUS, before=before, count=PAGE):
            for record in page:
                note = Note.decode(record.note)
                if note.did == ERASE and note.key:
                    texts[note.key] = _text(note, entry_time_ms(record.id))
            before = page[-1].id
        return texts


def _text(note: Note, at_ms: int) -> str:
    at = f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"
    text = f"erased at {at} UTC by {note.actor}"
    return f"{text}: {note.reason}" if note.reason else text
