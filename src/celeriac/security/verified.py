"""Signatures that were verified lately, so that events signed together cost one verification."""

from __future__ import annotations

from threading import Lock

MAX_REMEMBERED = 1024  # of 170 bytes each
# Key id, signature, and the bytes that it is of.
Question = tuple[str, bytes, bytes]


class Verified:
    """Holds only what a key was found to have signed. Thread-safe."""

    def __init__(self) -> None:
        # The newest last.
        self._questions: dict[Question, None] = {}
        self._lock = Lock()

    def __contains__(self, question: Question) -> bool:
        return question in self._questions

    def add(self, question: Question) -> None:
        """Remember it, and forget the oldest where there are too many."""
        with self._lock:
            self._questions[question] = None
            if len(self._questions) > MAX_REMEMBERED:
                del self._questions[next(iter(self._questions))]
