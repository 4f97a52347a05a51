"""The matrix H(event, handler): the state of each delivery of each event."""

from celeriac.delivery import DeliveryState
from celeriac.tracking.cell import Cell, EventStatus, HandlerLag, Located, Totals
from celeriac.tracking.locate import EventNotFound
from celeriac.tracking.matrix import Matrix
from celeriac.tracking.overview import HandlerView, Minute, TypeView
from celeriac.tracking.search import EventPage, Query
from celeriac.tracking.state import MEANINGS, UNFINISHED, state_of
from celeriac.tracking.tree import Cause, Tree

__all__ = [
    "MEANINGS",
    "UNFINISHED",
    "Cause",
    "Cell",
    "DeliveryState",
    "EventNotFound",
    "EventPage",
    "EventStatus",
    "HandlerLag",
    "HandlerView",
    "Located",
    "Matrix",
    "Minute",
    "Query",
    "Totals",
    "Tree",
    "TypeView",
    "state_of",
]
