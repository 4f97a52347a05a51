"""What the code of a handler makes of an event, before it runs: `when=`, signature and key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from celeriac.contract import read_data
from celeriac.errors import CeleriacError, ContractTooNew, InvalidData
from celeriac.event import RawEvent, is_encrypted
from celeriac.handler import Handler, ShareFilter
from celeriac.registry import HandlerRecord
from celeriac.security import EventSecurity


@dataclass(frozen=True, slots=True)
class Judgement:
    """Each is True, a text that says why not, or None where it does not apply."""

    when: bool | str | None = None
    signature: bool | str | None = None
    key: bool | str | None = None
    data: bool | str | None = None
    contract: bool | str | None = None

    def facts(self) -> dict[str, Any]:
        """The same as fields of Facts."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Code:
    """A handler as the code has it, with the keys of its service."""

    handler: Handler
    guard: EventSecurity

    def record(self) -> HandlerRecord:
        """The handler as its worker would register it, without the domains it takes part in."""
        one = self.handler
        return HandlerRecord(
            id=one.id,
            service=one.service,
            patterns=one.patterns,
            queue=one.queue,
            ordered=one.ordered,
            when=one.when is not None,
            options=one.options(),
            doc=one.doc,
        )

    def judge(self, body: bytes, event: RawEvent) -> Judgement:
        """Run the checks that the executor makes before the handler. Runs `when=`, not the
        handler."""
        signature: bool | str | None = None
        if self.handler.signed:
            signature = _reason(lambda: self.guard.verify(body, event, event.domain))
        key: bool | str | None = None
        if is_encrypted(event):
            try:
                event, key = self.guard.open(event), True
            except CeleriacError as error:
                return Judgement(signature=signature, key=str(error))
        try:
            read_data(event, self.handler.data_type)
        except ContractTooNew as error:
            return Judgement(signature=signature, key=key, contract=str(error))
        except InvalidData as error:
            return Judgement(signature=signature, key=key, data=str(error))
        return Judgement(self._when(event), signature, key, data=True)

    def _when(self, event: RawEvent) -> bool | str | None:
        when = self.handler.when
        if isinstance(when, ShareFilter):  # the share is a check of its own
            when = when.when
        if when is None:
            return None
        try:
            return bool(when(read_data(event, self.handler.data_type)))
        except CeleriacError as error:
            return str(error)
        except Exception as error:
            # Its message may hold data.
            return f"when= raised {type(error).__name__}"


def _reason(check: Callable[[], None]) -> bool | str:
    try:
        check()
    except CeleriacError as error:
        return str(error)
    return True
