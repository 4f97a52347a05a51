"""Where Flower listens: on this machine only, unless it asks who is there.

Stock Flower binds to every interface, without a password, and whoever reaches it may stop workers.
"""

from __future__ import annotations

import ipaddress
import os
from typing import Any

LOOPBACK = "127.0.0.1"
SWITCH = "CELERIAC_FLOWER_OPEN"


def choose_address(options: Any) -> None:
    """Loopback where no address is given. Raises SystemExit for one that reaches others while
    Flower would ask nobody who they are."""
    if options.unix_socket:
        return
    if not options.address:
        options.address = LOOPBACK
    if is_loopback(options.address) or is_authenticated(options) or is_open():
        return
    raise SystemExit(
        f"Flower would listen on {options.address} and ask nobody for a password: whoever reaches "
        "it could read events and stop workers. Give it --basic-auth=USER:PASSWORD or --auth, or "
        f"leave --address out, or set {SWITCH}=1 if something else asks before it"
    )


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches it."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address.strip("[]")).is_loopback
    except ValueError:
        return False


def is_authenticated(options: Any) -> bool:
    """Whether Flower asks who is there: basic authentication, or OAuth."""
    return bool(options.basic_auth or options.auth)


def is_open() -> bool:
    """Whether somebody said that Flower need not ask."""
    return os.environ.get(SWITCH, "").lower() in ("1", "true", "yes", "on")
