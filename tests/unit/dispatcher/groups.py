"""Groups of handlers, for tests of what the dispatcher has of them."""

from __future__ import annotations

from celeriac import Event
from celeriac.delivery.fetch_size import FetchSize
from celeriac.dispatcher.group_state import GroupState, HandlerState
from celeriac.handler import HandlerOptions, make_handler


def make_group(domain: str, name: str = "charge", of: HandlerState | None = None) -> GroupState:
    """Of the handler `billing.<name>`."""

    def function(event: Event) -> None: ...

    handler = make_handler(function, (f"{domain}.#",), HandlerOptions(name=name), service="billing")
    of = of or HandlerState(handler.id)
    state = GroupState(handler.group(domain), handler, of, FetchSize(100))
    of.groups.append(state)
    return state
