"""Determine the key of a command from its arguments: our commands have it at a fixed index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

SCRIPTS = {"EVAL", "EVALSHA", "EVALSHA_RO", "EVAL_RO", "FCALL"}
ANYWHERE = {
    "TIME",
    "PING",
    "INFO",
    "CONFIG GET",
    "COMMAND",
    "ACL WHOAMI",
    "DBSIZE",
    "LATENCY LATEST",
}
EVERYWHERE = {"SCRIPT LOAD", "SCRIPT FLUSH", "FLUSHALL", "FLUSHDB", "CONFIG SET"}


def name_of(args: Sequence[Any]) -> str:
    """Return the command's name in capitals."""
    name = args[0]
    return (name.decode() if isinstance(name, bytes) else str(name)).upper()


def key_of(args: Sequence[Any]) -> str | bytes:
    """Return the key that decides the slot; the server checks that all keys are in one slot."""
    at = 3 if name_of(args) in SCRIPTS else 1
    if len(args) <= at:
        raise ValueError(f"{name_of(args)} names no key, so no node can be selected for it")
    key: str | bytes = args[at]
    return key


def is_script(args: Sequence[Any]) -> bool:
    """Return whether the command may use keys that it does not name."""
    return name_of(args) in SCRIPTS
