"""`share=`: a handler that gets a fixed part of the subjects."""

from __future__ import annotations

import hashlib
from typing import Any

from celeriac.errors import SubscriptionError


def position(subject: str) -> float:
    """Return the position of a subject among all subjects: a number in [0, 1), from its SHA-256.

    It is the same in every process, version and language.
    """
    digest = hashlib.sha256(subject.encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def in_share(subject: str, share: float) -> bool:
    """Return whether a handler with this `share=` gets the subject.

    A larger share includes all subjects of a smaller one. Use it where a task is called in addition
    to an emit: `if not in_share(subject, 0.1): charge.delay(order)`.
    """
    return position(subject) < share


def sharing_subject(event: Any) -> str:
    """Return the text that decides an event's share: its subject, else partition key, else id."""
    return str(event.subject or event.partitionkey or event.id)


def check_share(share: Any) -> None:
    """Raise SubscriptionError for a share outside (0, 1]."""
    if share is None:
        return
    is_number = isinstance(share, (int, float)) and not isinstance(share, bool)
    if not is_number or not 0 < share <= 1:
        raise SubscriptionError(f"share={share!r}: must be a number over 0 and up to 1")
