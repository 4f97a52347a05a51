"""The keys of a service, read from its settings at their first use."""

from __future__ import annotations

from functools import cached_property

from celeriac.event import RawEvent
from celeriac.security.cached_subject_keys import CachedSubjectKeys
from celeriac.security.decrypter import Decrypter, make_decrypter
from celeriac.security.subject_key import SubjectKeys
from celeriac.security.verifier import Addressed, Verifier, make_verifier
from celeriac.settings import Settings


class EventSecurity:
    """Verifies signatures and decrypts events with the keys of the service."""

    def __init__(self, settings: Settings, subject_keys: SubjectKeys | None = None) -> None:
        self.settings = settings
        self.subject_keys = None if subject_keys is None else CachedSubjectKeys(subject_keys)

    @cached_property
    def _verifier(self) -> Verifier:
        return make_verifier(self.settings)

    @cached_property
    def _decrypter(self) -> Decrypter:
        secret_of = None if self.subject_keys is None else self.subject_keys.secret_of
        return make_decrypter(self.settings, secret_of)

    def check(self, *, signed: bool) -> None:
        """Read the encryption key now, and with `signed` the trusted keys.

        Raises ConfigurationError for invalid keys.
        """
        if signed:
            _ = self._verifier
        if self.settings.encryption_key:
            _ = self._decrypter

    def verify(self, raw: bytes, event: Addressed, domain: str) -> None:
        """Raise UntrustedEvent unless a key that is trusted for the event's source, type and tenant
        signed `raw`, from the event log of `domain`."""
        self._verifier(raw, event, domain)

    def decrypt(self, event: RawEvent) -> RawEvent:
        """Return an encrypted event with its plain data.

        Raises EncryptionError, including SubjectErased, and SubjectKeysUnavailable.
        """
        return self._decrypter(event)
