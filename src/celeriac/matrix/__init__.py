"""The matrix H(event, handler), read: what became of each event with each handler."""

from celeriac.matrix.cell import Cell, EventStatus, HandlerLag, Located, Totals
from celeriac.matrix.locate import EventNotFound
from celeriac.matrix.matrix import Matrix
from celeriac.matrix.overview import HandlerView, Minute, TypeView
from celeriac.matrix.search import EventPage, Query
from celeriac.matrix.state import MEANINGS, UNFINISHED, State, state_of
from celeriac.matrix.tree import Cause, Tree

__all__ = [
    "MEANINGS",
    "UNFINISHED",
    "Cause",
    "Cell",
    "EventNotFound",
    "EventPage",
    "EventStatus",
    "HandlerLag",
    "HandlerView",
    "Located",
    "Matrix",
    "Minute",
    "Query",
    "State",
    "Totals",
    "Tree",
    "TypeView",
    "state_of",
]
