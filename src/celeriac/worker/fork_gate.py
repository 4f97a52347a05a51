"""Prevent forks of the prefork pool while the dispatcher's thread holds locks.

A fork copies locks in their current state. While the gate is held, this process does not fork, so
no pool process begins with a locked lock whose thread does not exist there.
"""

from __future__ import annotations

import os
import threading
from contextlib import AbstractContextManager

_gate = threading.RLock()


def fork_gate() -> AbstractContextManager[bool]:
    """Return the process's gate.

    Hold it during code that may hold locks, never during long waits.
    """
    return _gate


def _after_in_child() -> None:
    # The child's only thread held the gate at the fork.
    _gate.release()


os.register_at_fork(
    before=_gate.acquire, after_in_parent=_gate.release, after_in_child=_after_in_child
)
