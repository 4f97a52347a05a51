"""Ports of the loopback interface."""

from __future__ import annotations

import random
import socket
from contextlib import suppress

# Linux uses 32768 and higher for outgoing connections, which could take a port before its server
# listens. The bus of a cluster node uses its port less 10,000.
PORTS = range(22_768, 32_768)
TRIES = 100

# Forks do not share its state, and it does not depend on the seed of `random`.
_random = random.SystemRandom()


def free_port() -> int:
    """Return a free TCP port of 127.0.0.1, chosen at random. It is not reserved for the caller.

    Raises OSError if no port is free.
    """
    for candidate in _random.sample(PORTS, TRIES):
        with suppress(OSError):
            return _bound(candidate)
    return _bound(0)


def _bound(port: int) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", port))
        bound: int = probe.getsockname()[1]
        return bound
