"""The keys of a service, read from its settings at their first use."""

from __future__ import annotations

from functools import cached_property

from celeriac.event import RawEvent
from celeriac.security.decrypter import Decrypter, make_decrypter
from celeriac.security.verifier import Addressed, Verifier, make_verifier
from celeriac.settings import Settings


class EventSecurity:
    """Verifies signatures and decrypts events with the keys of the service."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @cached_property
    def _verifier(self) -> Verifier:
        return make_verifier(self.settings)

    @cached_property
    def _decrypter(self) -> Decrypter:
        return make_decrypter(self.settings)

    def check(self, *, signed: bool) -> None:
        """Read the encryption key now, and with `signed` the trusted keys.

        Raises ConfigurationError for invalid keys.
        """
        if signed:
            _ = self._verifier
        if self.settings.encryption_key:
            _ = self._decrypter

    def verify(self, raw: bytes, event: Addressed, domain: str) -> None:
        """Raise UntrustedEvent unless a key that is trusted for the event's source and type signed
        `raw`, from the event log of `domain`."""
        self._verifier(raw, event, domain)

    def decrypt(self, event: RawEvent) -> RawEvent:
        """Return an encrypted event with its plain data. Raises EncryptionError."""
        return self._decrypter(event)
