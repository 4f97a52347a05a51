"""Broadcasts: each event for every worker instance, while it lives."""

from celeriac.broadcast.listener import BroadcastListener

__all__ = ["BroadcastListener"]
