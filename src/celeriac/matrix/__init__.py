"""The matrix H(event, handler), read: what became of each event with each handler."""

from celeriac.matrix.cell import Cell, EventStatus, HandlerLag, Located, State, Totals
from celeriac.matrix.matrix import Matrix

__all__ = ["Cell", "EventStatus", "HandlerLag", "Located", "Matrix", "State", "Totals"]
