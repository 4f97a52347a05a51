"""The address on which Flower listens: this machine only, unless it authenticates users.

Stock Flower binds to every interface without a password, and anyone who reaches it can stop
workers.
"""

from __future__ import annotations

import ipaddress
import os
from typing import Any

LOOPBACK = "127.0.0.1"
SWITCH = "CELERIAC_FLOWER_OPEN"


def choose_address(options: Any) -> None:
    """Set the loopback address if no address is given.

    Raises SystemExit for a public address without authentication.
    """
    if options.unix_socket:
        return
    if not options.address:
        options.address = LOOPBACK
    if is_loopback(options.address) or is_authenticated(options) or is_open():
        return
    raise SystemExit(
        f"Flower has no authentication on a public address: {options.address}. Anyone who reaches "
        "it could read events and stop workers. Set --basic-auth=USER:PASSWORD or --auth, remove "
        f"--address, or set {SWITCH}=1 if a proxy authenticates users."
    )


def is_loopback(address: str) -> bool:
    """Return whether only this machine can reach the address."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address.strip("[]")).is_loopback
    except ValueError:
        return False


def is_authenticated(options: Any) -> bool:
    """Return whether Flower authenticates users, by basic authentication or OAuth."""
    return bool(options.basic_auth or options.auth)


def is_open() -> bool:
    """Return whether the operator allows Flower without authentication."""
    return os.environ.get(SWITCH, "").lower() in ("1", "true", "yes", "on")
