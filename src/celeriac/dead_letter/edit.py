"""Edit the event of a dead letter. The edited event has a new id and replaces the old one."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from typing import Any

import msgspec

from celeriac.contract.registered import RegisteredContracts
from celeriac.dead_letter.actions import group_of
from celeriac.delivery import DeadLetter, EditedDeadLetter
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
from celeriac.unreadable import UNREADABLE

# The identity of the event, and the attributes that an edit sets.
FIXED = (
    "id", "source", "type", "specversion", "handlers", "causationid", "correlationid", "time",
    "sensitive", "tenant", "traceparent",
)  # fmt: skip
MAX_DIFF = 4000  # characters of a difference in the audit log

Document = Mapping[str, Any]
Change = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class DeadLetterEdit:
    """A dead letter and its edited event.

    `before` and `after` are masked, for display; `patch` is their difference as RFC 6902.
    """

    dead_letter: DeadLetter
    event: RawEvent
    before: Document
    after: Document
    patch: str

    @property
    def name(self) -> str:
        return f"{self.dead_letter.domain}/{self.dead_letter.id}"

    def lines(self) -> list[str]:
        """Return the difference as lines that begin with `-` and `+`, with one line of context."""
        before, after = _lines(self.before), _lines(self.after)
        lines = difflib.unified_diff(before, after, lineterm="", n=1)
        return [line for line in lines if not line.startswith(("---", "+++", "@@"))]


def document_of(dead_letter: DeadLetter) -> dict[str, Any]:
    """Return the event of a dead letter as JSON values, without its signature.

    Raises InvalidEvent if it cannot be edited: it is not an event, or it is encrypted.
    """
    name = f"{dead_letter.domain}/{dead_letter.id}"
    if not dead_letter.event_key:
        raise InvalidEvent(
            f"{name} is not an event. Discard it with `celeriac dead discard {name}`."
        )
    event = decode(dead_letter.event)
    if is_encrypted(event):
        raise InvalidEvent(f"{name} is encrypted and cannot be edited. Emit a corrected event.")
    try:
        document: dict[str, Any] = msgspec.json.decode(_bare(event))
    except UNREADABLE:
        raise InvalidEvent(
            f"{name} has data that cannot be read, such as a number out of range, and cannot be "
            "edited. Emit a corrected event."
        ) from None
    return document


def masked_document(document: Document, names: Set[str]) -> dict[str, Any]:
    """Return the document without its sensitive values."""
    shown = masked_envelope(msgspec.json.encode(document), names)
    return shown if isinstance(shown, dict) else {}


def edit_dead_letter(
    dead_letter: DeadLetter,
    change: Change,
    contracts: RegisteredContracts,
    names: Set[str] = frozenset(),
) -> DeadLetterEdit:
    """Return the edit of a dead letter; `change` maps its document to the edited one.

    Raises InvalidEvent if nothing or the identity of the event changes, or the result is not an
    event; InvalidData if the data does not match its contract, or the handler cannot read it.
    """
    try:
        return _edited(dead_letter, change, contracts, names)
    except RecursionError:
        name = f"{dead_letter.domain}/{dead_letter.id}"
        raise InvalidEvent(
            f"{name} has data that is nested too deeply to be edited. Emit a corrected event."
        ) from None


def _edited(
    dead_letter: DeadLetter, change: Change, contracts: RegisteredContracts, names: Set[str]
) -> DeadLetterEdit:
    before = document_of(dead_letter)
    changed = change(msgspec.json.decode(msgspec.json.encode(before)))
    if not isinstance(changed, dict):
        raise InvalidEvent("The edited event is not a JSON object.")
    fixed = [name for name in FIXED if before.get(name) != changed.get(name)]
    if fixed:
        raise InvalidEvent(f"an edit cannot change {', '.join(fixed)}. Emit a new event instead.")
    # As JSON: Python compares 1, 1.0 and true as equal.
    if _sorted_json(before) == _sorted_json(changed):
        name = f"{dead_letter.domain}/{dead_letter.id}"
        raise InvalidEvent(
            f"nothing was changed. Redrive it without an edit: celeriac dead redrive {name}"
        )
    edited = {
        **changed,
        "id": new_event_id(),
        "causationid": before["id"],
        "correlationid": before.get("correlationid") or before["id"],
        "handlers": dead_letter.handler,
    }
    edited.pop("traceparent", None)
    event = decode(msgspec.json.encode(edited))
    contracts.check_edited(dead_letter.handler, event, decode(dead_letter.event))
    shown = masked_document(before, names), masked_document(changed, names)
    return DeadLetterEdit(dead_letter, event, *shown, difference(*shown))


def apply_edit(
    backend: Backend,
    records: Mapping[str, HandlerRecord],
    settings: Settings,
    edit: DeadLetterEdit,
    note: bytes,
) -> bool:
    """Replace the dead letter with its edited event, atomically; return False if it no longer
    exists.

    The event is signed if there is a key. Raises NotFound if the handler was removed, InvalidEvent
    if the event is too large, or unsigned although the handler requires a signature.
    """
    group, event = group_of(records, edit.dead_letter), edit.event
    body = encode(event, max_bytes=settings.max_event_bytes)
    signer = make_signer(settings)
    if signer is not None:
        body = signer.sign(body)
    elif records[edit.dead_letter.handler].options.get("signed"):
        raise InvalidEvent(
            f"{edit.dead_letter.handler} requires a signature. Set CELERIAC_SIGNING_KEY to a "
            "key that it "
            "trusts."
        )
    key = event_key(event.id, event.source)
    edited = EditedDeadLetter(edit.dead_letter, event.id, key, event.type, body)
    return bool(backend.deliveries.edit(group, [edited], note))


def patch_change(patch: bytes | str) -> Change:
    """Return the change of a JSON patch (RFC 6902). Raises InvalidEvent if it is not a patch."""
    with needing("edit", "a JSON patch"):
        import jsonpatch
    try:
        parsed = jsonpatch.JsonPatch.from_string(patch)
    except (ValueError, TypeError, jsonpatch.JsonPatchException) as error:
        raise InvalidEvent(f"invalid JSON patch (RFC 6902): {error}") from None

    def change(document: Any) -> Any:
        try:
            return parsed.apply(document)
        except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as error:
            # The message can hold values.
            raise InvalidEvent(f"the patch does not fit: {type(error).__name__}") from None

    return change


def unmasked_change(dead_letter: DeadLetter, edited: str, names: Set[str]) -> Change:
    """Return the change between the masked document of a dead letter and `edited`.

    Applied to the unmasked document, it keeps values that are still masked. Raises InvalidEvent if
    `edited` is not JSON.
    """
    try:
        changed = msgspec.json.decode(edited)
    except msgspec.DecodeError as error:
        raise InvalidEvent(f"the edited event is not valid JSON: {error}") from None
    if not isinstance(changed, dict):
        raise InvalidEvent("The edited event is not a JSON object.")
    return patch_change(difference(masked_document(document_of(dead_letter), names), changed))


def difference(before: Document, after: Document) -> str:
    """Return the JSON patch from one document to the other."""
    with needing("edit", "editing a dead letter"):
        import jsonpatch
    return str(jsonpatch.make_patch(before, after).to_string())


def _bare(event: RawEvent) -> bytes:
    return encode(msgspec.structs.replace(event, keyid=None, signature=None))


def _sorted_json(document: Document) -> bytes:
    return msgspec.json.encode(document, order="deterministic")


def _lines(document: Document) -> list[str]:
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode().splitlines()
