"""A cache of verified signatures, so that a batch of events costs one verification."""

from __future__ import annotations

from threading import Lock

MAX_REMEMBERED = 1024  # of 170 bytes each
# Key id, signature, and the signed bytes.
SignatureKey = tuple[str, bytes, bytes]


class VerifiedCache:
    """The last MAX_REMEMBERED valid signatures. Thread-safe."""

    def __init__(self) -> None:
        # The newest last.
        self._signatures: dict[SignatureKey, None] = {}
        self._lock = Lock()

    def __contains__(self, key: SignatureKey) -> bool:
        return key in self._signatures

    def add(self, key: SignatureKey) -> None:
        """Add a valid signature; drop the oldest beyond MAX_REMEMBERED."""
        with self._lock:
            self._signatures[key] = None
            if len(self._signatures) > MAX_REMEMBERED:
                del self._signatures[next(iter(self._signatures))]
