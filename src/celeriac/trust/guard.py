"""A service's keys, read from its settings when they are first needed."""

from __future__ import annotations

from functools import cached_property

from celeriac.event import RawEvent
from celeriac.settings import Settings
from celeriac.trust.verifier import Verifier, make_verifier


class Guard:
    """Says whether an event is to be trusted."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @cached_property
    def _verifier(self) -> Verifier:
        return make_verifier(self.settings)

    def check(self) -> None:
        """Reads the trusted keys now. Raises ConfigurationError for keys that cannot be used."""
        _ = self._verifier

    def verify(self, raw: bytes, event: RawEvent, domain: str) -> None:
        """Raises UntrustedEvent unless the event in `raw`, from the log of `domain`, is signed by
        a key that is trusted for its source and type."""
        self._verifier(raw, event, domain)
