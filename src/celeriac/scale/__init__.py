"""How many workers a service needs, for an autoscaler."""

from celeriac.scale.gather import ScaleReader
from celeriac.scale.load import HandlerLoad
from celeriac.scale.wanted import (
    DueTick,
    HandlerWork,
    ScaleTarget,
    WorkersWanted,
    workers_wanted,
)

__all__ = [
    "DueTick",
    "HandlerLoad",
    "HandlerWork",
    "ScaleReader",
    "ScaleTarget",
    "WorkersWanted",
    "workers_wanted",
]
