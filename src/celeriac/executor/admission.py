"""Checks between the claim of an event and its handler: signature and decryption."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from celeriac.errors import EncryptionError, SubjectKeysUnavailable, UntrustedEvent
from celeriac.event import RawEvent, is_encrypted
from celeriac.executor.masking import masked_error
from celeriac.security import EventSecurity


class SignedOption(Protocol):
    """A handler, which demands signatures if it is `signed`."""

    @property
    def signed(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Admission:
    """Belongs to one chunk of the log of `domain`.

    `verified` has entries whose events were verified, with their source, type and tenant.
    """

    guard: EventSecurity
    domain: str
    sensitive: frozenset[str] = frozenset()
    verified: dict[str, tuple[str, str, str | None]] = field(default_factory=dict)

    def admit(self, handler: SignedOption, entry: str, body: bytes, event: RawEvent) -> RawEvent:
        """Return the event for the handler, its data still JSON.

        Raises UntrustedEvent, EncryptionError if the event is encrypted for others, SubjectErased
        if its subject was erased, or SubjectKeysUnavailable, before any code of the handler runs or
        any of its data is read.
        """
        self.verify(handler, entry, body, event)
        return self.decrypt(event)

    def verify(self, handler: SignedOption, entry: str, body: bytes, event: RawEvent) -> None:
        """Raise UntrustedEvent if the handler demands a signature that the event does not have."""
        addressed = event.source, event.type, event.tenant
        if handler.signed and self.verified.get(entry) != addressed:
            self.guard.verify(body, event, self.domain)

    def decrypt(self, event: RawEvent) -> RawEvent:
        """Return the event with its plain data. Raises the other errors of `admit`."""
        return self.guard.decrypt(event) if is_encrypted(event) else event

    def shown(self, error: BaseException, bodies: Iterable[bytes | None]) -> BaseException:
        """Return the error without the sensitive values of these events.

        All values of an encrypted event are sensitive, since Redis stores the error in plain text.
        """
        if isinstance(error, (UntrustedEvent, EncryptionError, SubjectKeysUnavailable)):
            # These contain no data of the event.
            return error
        return masked_error(error, bodies, self.sensitive, self.guard.decrypt)
