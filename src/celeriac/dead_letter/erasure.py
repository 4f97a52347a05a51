"""Erase the data of a subject, with a record of it in the audit log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from celeriac.dead_letter.audit import ERASE, Note, record_action
from celeriac.dead_letter.erased_data import ErasedData
from celeriac.security.subject_key import Erasure, SubjectKeys
from celeriac.store.factory import Backend

# Calls a function that is idempotent, and may repeat the call.
Persist = Callable[[Callable[[], None]], None]


def erase_subject(
    backend: Backend,
    keys: SubjectKeys,
    subject: str,
    *,
    actor: str,
    reason: str = "",
    persist: Persist | None = None,
) -> Erasure:
    """Destroy the key of a subject, and write the erasure to the audit log.

    Idempotent: a repeated call returns the first erasure, and records it if the audit log has no
    record of it. Blocks. `persist` repeats the call to the audit log while Redis is unreachable.
    Raises redis.RedisError after the key was destroyed: call it again.
    """
    erasure = keys.erase(subject, actor=actor, reason=reason)
    record = _Record(backend, erasure, may_exist=not erasure.is_new)
    if persist is None:
        record()
    else:
        persist(record)
    return erasure


@dataclass(slots=True)
class _Record:
    """Writes an erasure to the audit log once, also if an earlier call failed after the write."""

    backend: Backend
    erasure: Erasure
    may_exist: bool

    def __call__(self) -> None:
        if self.may_exist and ErasedData(self.backend).has(self.erasure.key_id):
            return
        self.may_exist = True
        note = Note(
            actor=self.erasure.actor,
            did=ERASE,
            what=self.erasure.subject,
            via="celeriac",
            reason=self.erasure.reason,
            key=self.erasure.key_id,
        )
        record_action(self.backend, note)
