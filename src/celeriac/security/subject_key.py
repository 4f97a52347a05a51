"""Where the keys of subjects are stored: the protocol, and its values."""

from __future__ import annotations

import os
import secrets
import time
from datetime import UTC, datetime
from typing import Protocol

import msgspec

from celeriac.errors import SubjectErased
from celeriac.event.encrypted import SUBJECT_KEY
from celeriac.security.key import KEY_BYTES

MAX_SUBJECT = 255  # characters


class SubjectKey(msgspec.Struct, frozen=True):
    """The key of a subject. `id` is random and is stored in each event; `secret` has 32 bytes."""

    id: str
    secret: bytes

    def __repr__(self) -> str:
        return f"SubjectKey({self.id!r})"


class Erasure(msgspec.Struct, frozen=True, kw_only=True):
    """The record of an erasure. It stays permanently, and no key is created for the subject again.

    Attributes:
        key_id: The id of the key in events; a new one if the subject had none.
        at_ms: When the key was destroyed, in ms since the epoch.
        actor: Who erased it.
        is_new: False if the subject was erased before.
    """

    subject: str
    key_id: str
    at_ms: int
    actor: str
    reason: str
    is_new: bool = False

    @property
    def at(self) -> str:
        """The time as text, in UTC."""
        return f"{datetime.fromtimestamp(self.at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"


class SubjectKeys(Protocol):
    """A store of the keys of subjects. It must not be the event log or its Redis.

    Each service that emits or handles events of the subjects uses the same store. Methods block.
    They may be called from several threads and from forked processes. If the store is unreachable,
    they raise its own errors.
    """

    def key_of(self, subject: str) -> SubjectKey:
        """Return the key of a subject, created at the first call. Raises SubjectErased."""
        ...

    def secret_of(self, key_id: str) -> bytes | None:
        """Return the secret of a key; None for an unknown key. Raises SubjectErased."""
        ...

    def erase(self, subject: str, *, actor: str, reason: str = "") -> Erasure:
        """Destroy the key of a subject permanently, and record it. Idempotent.

        A subject without a key is recorded too, so that none is created for it.
        """
        ...

    def erasure(self, subject: str) -> Erasure | None:
        """Return the record of the subject's erasure; None if it was not erased."""
        ...


def new_subject_key() -> SubjectKey:
    """Return a new random key."""
    return SubjectKey(SUBJECT_KEY + secrets.token_urlsafe(16), os.urandom(KEY_BYTES))


def erased(erasure: Erasure) -> SubjectErased:
    """Return the error for a subject that was erased. It does not name the subject."""
    return SubjectErased(
        f"the key of its subject was erased at {erasure.at} by {erasure.actor}. The data cannot be "
        "restored"
    )


def now_ms() -> int:
    return int(time.time() * 1000)
