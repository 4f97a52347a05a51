"""The registry of handlers and workers."""

from celeriac.registry.registry import HandlerRecord, Registry, WorkerRecord, is_alive

__all__ = ["HandlerRecord", "Registry", "WorkerRecord", "is_alive"]
