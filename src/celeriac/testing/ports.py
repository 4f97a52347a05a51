"""Ports of the loopback interface."""

from __future__ import annotations

import socket


def free_port() -> int:
    """Return a free TCP port of 127.0.0.1. It is not reserved for the caller."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
