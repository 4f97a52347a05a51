"""Editing the event of a dead letter: the edited event has a new id and stands for the old one."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from celeriac.dead_letter.single import lane_of
from celeriac.delivery import DeadLetter, EditedLetter
from celeriac.errors import InvalidEvent
from celeriac.event import (
    RawEvent,
    decode,
    encode,
    event_key,
    is_encrypted,
    masked_envelope,
    new_event_id,
)
from celeriac.extra import needing
from celeriac.registry import HandlerRecord
from celeriac.security import make_signer
from celeriac.settings import Settings
from celeriac.store.factory import Backend

# What names the event, and what an edit gives it itself.
FIXED = (
    "id", "source", "type", "specversion", "handlers", "causationid", "correlationid", "time",
    "sensitive", "traceparent",
)  # fmt: skip
MAX_DIFF = 4000  # characters of it in the audit log

Document = Mapping[str, Any]
Change = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class LetterEdit:
    """A dead letter and its edited event. `before` and `after` are masked, for people; `patch` is
    their difference as RFC 6902."""

    letter: DeadLetter
    event: RawEvent
    before: Document
    after: Document
    patch: str

    @property
    def name(self) -> str:
        return f"{self.letter.domain}/{self.letter.id}"

    def lines(self) -> list[str]:
        """The difference as lines that begin with `-` and `+`, with a line around each."""
        before, after = _lines(self.before), _lines(self.after)
        found = difflib.unified_diff(before, after, lineterm="", n=1)
        return [line for line in found if not line.startswith(("---", "+++", "@@"))]


def letter_document(letter: DeadLetter) -> dict[str, Any]:
    """The event of a dead letter as JSON values, without its signature. Raises InvalidEvent for
    what cannot be edited: what is no event, or is encrypted."""
    name = f"{letter.domain}/{letter.id}"
    if not letter.event_key:
        raise InvalidEvent(f"{name} holds no event; discard it: celeriac dead discard {name}")
    event = decode(letter.event)
    if is_encrypted(event):
        raise InvalidEvent(f"{name} is encrypted and cannot be edited; emit a corrected event")
    document: dict[str, Any] = msgspec.json.decode(_bare(event))
    return document


def masked_document(document: Document, names: Collection[str]) -> dict[str, Any]:
    """The document without its sensitive values."""
    shown = masked_envelope(msgspec.json.encode(document), names)
    return shown if isinstance(shown, dict) else {}


def edit_letter(letter: DeadLetter, change: Change, names: Collection[str] = ()) -> LetterEdit:
    """Return the edit that `change`, of the document to the edited one, makes of a dead letter.

    Raises InvalidEvent where it changes nothing, or what names the event, or leaves no event.
    """
    before = letter_document(letter)
    changed = change(msgspec.json.decode(msgspec.json.encode(before)))
    if not isinstance(changed, dict):
        raise InvalidEvent("the edited event is no JSON object")
    fixed = [one for one in FIXED if before.get(one) != changed.get(one)]
    if fixed:
        raise InvalidEvent(f"an edit cannot change {', '.join(fixed)}; emit another event instead")
    if before == changed:
        name = f"{letter.domain}/{letter.id}"
        raise InvalidEvent(
            f"nothing was changed; to run it again as it is: celeriac dead redrive {name}"
        )
    edited = {
        **changed,
        "id": new_event_id(),
        "causationid": before["id"],
        "correlationid": before.get("correlationid") or before["id"],
        "handlers": letter.handler,
    }
    edited.pop("traceparent", None)
    event = decode(msgspec.json.encode(edited))
    shown = masked_document(before, names), masked_document(changed, names)
    return LetterEdit(letter, event, *shown, difference(*shown))


def apply_edit(
    backend: Backend,
    records: Mapping[str, HandlerRecord],
    settings: Settings,
    edit: LetterEdit,
    note: bytes,
) -> bool:
    """Resolve the dead letter by its edited event, in one move with the note; False if it is gone.

    The event is signed where there is a key. Raises NotFound where the handler was removed,
    InvalidEvent for an event that is too large, or unsigned where the handler demands a signature.
    """
    group, event = lane_of(records, edit.letter), edit.event
    body = encode(event, max_bytes=settings.max_event_bytes)
    signer = make_signer(settings)
    if signer is not None:
        body = signer.sign(body)
    elif records[edit.letter.handler].options.get("signed"):
        raise InvalidEvent(
            f"{edit.letter.handler} demands a signature: set CELERIAC_SIGNING_KEY to a key that it "
            "trusts"
        )
    key = event_key(event.id, event.source)
    edited = EditedLetter(edit.letter, event.id, key, event.type, body)
    return bool(backend.deliveries.edit(group, [edited], note))


def patch_change(patch: bytes | str) -> Change:
    """The change that a JSON patch (RFC 6902) makes. Raises InvalidEvent for what is none."""
    with needing("edit", "a JSON patch"):
        import jsonpatch
    try:
        parsed = jsonpatch.JsonPatch.from_string(patch)
    except (ValueError, TypeError, jsonpatch.JsonPatchException) as error:
        raise InvalidEvent(f"no JSON patch (RFC 6902): {error}") from None

    def change(document: Any) -> Any:
        try:
            return parsed.apply(document)
        except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as error:
            # Its message may hold values.
            raise InvalidEvent(f"the patch does not fit: {type(error).__name__}") from None

    return change


def unmasked_change(letter: DeadLetter, edited: str, names: Collection[str]) -> Change:
    """The change that was made to the masked document of a letter, for the document itself: values
    that were masked and left so stay. Raises InvalidEvent for what is no JSON."""
    try:
        changed = msgspec.json.decode(edited)
    except msgspec.DecodeError as error:
        raise InvalidEvent(f"the edited event is no JSON: {error}") from None
    if not isinstance(changed, dict):
        raise InvalidEvent("the edited event is no JSON object")
    return patch_change(difference(masked_document(letter_document(letter), names), changed))


def difference(before: Document, after: Document) -> str:
    """The JSON patch from one document to the other."""
    with needing("edit", "editing a dead letter"):
        import jsonpatch
    return str(jsonpatch.make_patch(before, after).to_string())


def _bare(event: RawEvent) -> bytes:
    return encode(msgspec.structs.replace(event, keyid=None, signature=None))


def _lines(document: Document) -> list[str]:
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode().splitlines()
