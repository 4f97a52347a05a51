"""How many delivery tasks wait, so that under load few large ones are sent and not many small ones.

Otherwise a busy handler would get a task for every event the moment it comes, each at the cost of a
Celery task, and would fall behind for that cost alone. While enough tasks wait to keep the
processes busy, what comes stays in the log, and goes together into the next one. Pure.
"""

from __future__ import annotations

from celeriac.dispatcher.group_state import GroupState

TASKS_AHEAD = 4  # for each process


def note_sent(group: GroupState, deliveries: int) -> None:
    """A task with so many pending deliveries was sent. Tasks are taken in about that order."""
    group.sent.append(deliveries)
    group.of.waiting_tasks += 1


def note_queued(group: GroupState, queued: int) -> None:
    """So many deliveries are not claimed yet: the latest ones that were sent."""
    while group.sent and sum(group.sent) - group.sent[0] >= queued:
        group.sent.popleft()
        group.of.waiting_tasks -= 1
