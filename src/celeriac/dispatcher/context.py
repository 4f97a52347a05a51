"""What the parts of one dispatcher share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from celeriac.delivery.sources import Sources
from celeriac.dispatcher.circuits import CircuitCache
from celeriac.dispatcher.domain_reader import DomainReader
from celeriac.dispatcher.group_state import GroupState
from celeriac.dispatcher.group_table import GroupTable
from celeriac.dispatcher.membership import Membership
from celeriac.dispatcher.process_share import ProcessShare
from celeriac.dispatcher.task_sender import TaskSender


@dataclass(frozen=True, slots=True)
class DispatcherContext:
    """What fetching new deliveries and fetching pending ones have in common.

    Attributes:
        processes: The processes of the worker's pool.
        requeue: Requeues the queued deliveries of a group. Blocks for round trips.
        poll_interval: Seconds between polls of a group without a wakeup.
    """

    processes: int
    groups: GroupTable
    members: Membership
    share: ProcessShare
    circuits: CircuitCache
    tasks: TaskSender
    sources: Sources
    reader: DomainReader
    requeue: Callable[[GroupState], None]
    poll_interval: float
