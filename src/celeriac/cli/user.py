"""The user that runs the command."""

from __future__ import annotations

import getpass
import os


def user_name() -> str:
    """Return the name of the machine's user, or its number if it has no name."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return str(os.getuid())
