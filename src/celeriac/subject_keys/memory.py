"""Keys of subjects in memory, for tests and examples."""

from __future__ import annotations

from threading import Lock

from msgspec.structs import replace

from celeriac.security.subject_key import (
    Erasure,
    SubjectKey,
    erased,
    new_subject_key,
    now_ms,
)


class MemorySubjectKeys:
    """Implements SubjectKeys in this process. All keys are lost when it ends."""

    def __init__(self) -> None:
        self._keys: dict[str, SubjectKey] = {}
        self._subjects: dict[str, str] = {}  # key id → subject
        self._erasures: dict[str, Erasure] = {}
        self._lock = Lock()

    def key_of(self, subject: str) -> SubjectKey:
        with self._lock:
            if (erasure := self._erasures.get(subject)) is not None:
                raise erased(erasure)
            key = self._keys.setdefault(subject, new_subject_key())
            self._subjects[key.id] = subject
            return key

    def secret_of(self, key_id: str) -> bytes | None:
        with self._lock:
            subject = self._subjects.get(key_id, "")
            if (erasure := self._erasures.get(subject)) is not None:
                raise erased(erasure)
            return self._keys[subject].secret if subject else None

    def erase(self, subject: str, *, actor: str, reason: str = "") -> Erasure:
        with self._lock:
            if (known := self._erasures.get(subject)) is not None:
                return known
            key = self._keys.pop(subject, None) or new_subject_key()
            new = Erasure(
                subject=subject, key_id=key.id, at_ms=now_ms(), actor=actor, reason=reason
            )
            self._erasures[subject] = new
            return replace(new, is_new=True)

    def erasure(self, subject: str) -> Erasure | None:
        with self._lock:
            return self._erasures.get(subject)
