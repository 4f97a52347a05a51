"""The dispatcher's thread and the forks of the prefork pool kept apart.

A fork copies locks in the state they are in. While the gate is held no fork happens in this
process, so no pool process begins with a lock that a thread which it does not have will never
release.
"""

from __future__ import annotations

import os
import threading
from contextlib import AbstractContextManager

_gate = threading.RLock()


def fork_gate() -> AbstractContextManager[bool]:
    """The process's gate. Hold it for what may hold other locks, never while waiting long."""
    return _gate


def _after_in_child() -> None:
    # The child has one thread, and it held the gate when it was forked.
    _gate.release()


os.register_at_fork(
    before=_gate.acquire, after_in_parent=_gate.release, after_in_child=_after_in_child
)
