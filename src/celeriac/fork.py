"""Keep forked child processes away from the connections of their parent.

A connection opened before a fork belongs to the parent: otherwise both processes would read each
other's replies from one socket. The child must neither use nor close it, because several drivers
end the server's session when they close.
"""

from __future__ import annotations

import ctypes
import logging
import os
import sys
from collections.abc import Callable
from importlib import import_module

logger = logging.getLogger(__name__)

_actions: list[Callable[[], None]] = []
_process = os.getpid()


def after_fork_in_child(action: Callable[[], None]) -> None:
    """Run the action once in each forked child, before the child's own code.

    Covers every fork through Python (billiard, multiprocessing, gunicorn, `os.fork`) and in
    uWSGI. If an action raises, the exception is logged and the other actions still run.
    """
    _actions.append(action)


def leave_to_parent(inherited: object) -> None:
    """Keep an object of the parent alive until this process ends, so that it is never closed."""
    # A module-level list would be emptied at interpreter exit, and the driver would close it then.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(inherited))


def _in_child() -> None:
    global _process
    # uWSGI with `py-call-uwsgi-fork-hooks` calls this twice.
    if _process == os.getpid():
        return
    _process = os.getpid()
    for action in _actions:
        try:
            action()
        except Exception:
            logger.exception("celeriac: %s failed after a fork", action)


def _register_in_uwsgi() -> None:
    """Register with uWSGI, which forks in C and by default calls none of Python's hooks."""
    if "uwsgi" not in sys.modules:
        return
    try:
        # `uwsgidecorators` replaces a hook that is set as `uwsgi.post_fork_hook`.
        import_module("uwsgidecorators").postfork(_in_child)
    except Exception as error:  # a bare Exception without uWSGI's master process
        logger.debug("celeriac: the fork hook was not registered in uWSGI: %s", error)


os.register_at_fork(after_in_child=_in_child)
_register_in_uwsgi()
