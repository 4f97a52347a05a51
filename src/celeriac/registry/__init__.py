from celeriac.registry.registry import HandlerRecord, Registry, WorkerRecord

__all__ = ["HandlerRecord", "Registry", "WorkerRecord"]
