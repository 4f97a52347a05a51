"""What a child process does after a fork with what it inherited.

A connection made before a fork is the parent's: both processes would read each other's answers from
one socket. The child must not use it, and must not close it either, because several drivers say
goodbye to the server when they close.
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

    Works for each fork that Python makes (billiard, multiprocessing, gunicorn, `os.fork`) and in
    uWSGI. An action that raises is logged and does not stop the others.
    """
    _actions.append(action)


def leave_to_parent(inherited: object) -> None:
    """Keep an object of the parent alive until this process ends, so that nothing closes it."""
    # A list is emptied when the interpreter ends; then the driver would close the connection.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(inherited))


def _in_child() -> None:
    global _process
    # uWSGI with `py-call-uwsgi-fork-hooks` gets here twice.
    if _process == os.getpid():
        return
    _process = os.getpid()
    for action in _actions:
        try:
            action()
        except Exception:
            logger.exception("%s failed after a fork", action)


def _register_in_uwsgi() -> None:
    """uWSGI forks in C, and by default calls none of Python's own hooks."""
    if "uwsgi" not in sys.modules:
        return
    try:
        # Not `uwsgi.post_fork_hook`: this module replaces what is set there.
        import_module("uwsgidecorators").postfork(_in_child)
    except Exception as error:  # it raises a bare one without uWSGI's master process
        logger.debug("no fork hook in uWSGI: %s", error)


os.register_at_fork(after_in_child=_in_child)
_register_in_uwsgi()
