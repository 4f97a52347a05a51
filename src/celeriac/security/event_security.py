"""A service's keys, read from its settings when they are first needed."""

from __future__ import annotations

from functools import cached_property

from celeriac.event import RawEvent
from celeriac.security.decrypter import Decrypter, make_decrypter
from celeriac.security.verifier import Addressed, Verifier, make_verifier
from celeriac.settings import Settings


class EventSecurity:
    """Says whether an event is to be trusted, and opens what is encrypted for the service."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @cached_property
    def _verifier(self) -> Verifier:
        return make_verifier(self.settings)

    @cached_property
    def _decrypter(self) -> Decrypter:
        return make_decrypter(self.settings)

    def check(self, *, signed: bool) -> None:
        """Reads the keys now: those that are trusted if `signed`, and its own where it has one.

        Raises ConfigurationError for keys that cannot be used.
        """
        if signed:
            _ = self._verifier
        if self.settings.encryption_key:
            _ = self._decrypter

    def verify(self, raw: bytes, event: Addressed, domain: str) -> None:
        """Raises UntrustedEvent unless the event in `raw`, from the log of `domain`, is signed by
        a key that is trusted for its source and type."""
        self._verifier(raw, event, domain)

    def open(self, event: RawEvent) -> RawEvent:
        """An encrypted event with its data as it was. Raises EncryptionError."""
        return self._decrypter(event)
