"""Subjects among the recipients of `encrypt_for`. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from celeriac.errors import EncryptionError
from celeriac.event import Event
from celeriac.security.subject_key import MAX_SUBJECT

# No service has a name that begins with it.
MARK = "@"
# In `encrypt_for`: the key of the event's `subject`.
SUBJECT = MARK


def subject_key(subject: str) -> str:
    """Return the entry for `encrypt_for` that names the key of a subject: `@customer-42`.

    Raises EncryptionError for an empty or too long name.
    """
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT:
        raise EncryptionError(
            f"the subject of a key must be a string of 1 to {MAX_SUBJECT} characters"
        )
    return MARK + subject


def split_recipients(event: Event[Any], recipients: Sequence[str]) -> tuple[list[str], str | None]:
    """Return the services among the recipients, and the subject whose key is used, if any.

    Raises EncryptionError for more than one subject, or if the event has none.
    """
    services = [name for name in recipients if not name.startswith(MARK)]
    subjects = {name for name in recipients if name.startswith(MARK)}
    if not subjects:
        return services, None
    if len(subjects) > 1:
        raise EncryptionError(
            f"encrypt_for has {len(subjects)} subjects. Give one: the data is erased with its key"
        )
    [named] = subjects
    subject = named.removeprefix(MARK) or event.subject
    if not subject:
        raise EncryptionError(
            f"encrypt_for has SUBJECT, but the event {event.type} has no subject. Give it a "
            "`subject`, or name one with subject_key(...)"
        )
    return services, subject_key(subject).removeprefix(MARK)
