"""A cache of subjects' keys with a bound on time, so that an erasure takes effect everywhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Generic, TypeVar

from celeriac.errors import (
    ConfigurationError,
    EncryptionError,
    SubjectErased,
    SubjectKeysUnavailable,
)
from celeriac.security.subject_key import Erasure, SubjectKey, SubjectKeys

CACHE_SECONDS = 60.0
MAX_CACHED = 10_000  # keys

T = TypeVar("T")


class _Cache(Generic[T]):
    """Values that are used for CACHE_SECONDS after they were read. All are dropped at MAX_CACHED.

    Without a lock, which another thread could hold at a fork. Two threads may read the same value.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._values: dict[str, tuple[float, T]] = {}

    def get(self, name: str, read: Callable[[], T]) -> T:
        now = self._clock()
        cached = self._values.get(name)
        if cached is not None and now - cached[0] < CACHE_SECONDS:
            return cached[1]
        value = read()
        if len(self._values) >= MAX_CACHED:
            self._values.clear()
        # The time before the read: a key that is erased during the read must not live longer.
        self._values[name] = (now, value)
        return value

    def drop(self, name: str) -> None:
        self._values.pop(name, None)


class CachedSubjectKeys:
    """Implements SubjectKeys with the keys of another store, each cached for CACHE_SECONDS.

    Raises SubjectKeysUnavailable if the store fails.
    """

    def __init__(self, store: SubjectKeys, clock: Callable[[], float] = time.monotonic) -> None:
        self.store = store
        self._keys = _Cache[SubjectKey](clock)
        self._secrets = _Cache[bytes](clock)

    def key_of(self, subject: str) -> SubjectKey:
        return self._keys.get(subject, lambda: _available(lambda: self.store.key_of(subject)))

    def secret_of(self, key_id: str) -> bytes:
        """Return the secret of a key.

        Raises SubjectErased, and EncryptionError if the store does not have it.
        """
        return self._secrets.get(key_id, lambda: self._read(key_id))

    def erase(self, subject: str, *, actor: str, reason: str = "") -> Erasure:
        done = _available(lambda: self.store.erase(subject, actor=actor, reason=reason))
        self._keys.drop(subject)
        return done

    def erasure(self, subject: str) -> Erasure | None:
        return _available(lambda: self.store.erasure(subject))

    def _read(self, key_id: str) -> bytes:
        secret = _available(lambda: self.store.secret_of(key_id))
        if secret is None:
            raise EncryptionError(
                f"cannot be decrypted: subject_keys of this service has no key {key_id}. Use the "
                "store of the service that emitted the event"
            )
        return secret


def _available(call: Callable[[], T]) -> T:
    try:
        return call()
    except (SubjectErased, EncryptionError):
        raise
    except ConfigurationError as error:
        raise SubjectKeysUnavailable(f"the store of the subjects' keys failed: {error}") from error
    except Exception as error:
        raise SubjectKeysUnavailable(
            f"the store of the subjects' keys failed ({type(error).__name__}). Check the database "
            "of subject_keys"
        ) from error
