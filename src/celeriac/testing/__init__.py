"""Test services: `capture` what is emitted, run the handlers `in_memory`, or run real workers.

`start_server` starts an embedded Valkey, and `run_workers` the Celery workers of services.
"""

from celeriac.testing.capture import capture
from celeriac.testing.captured import Captured
from celeriac.testing.events import make_event
from celeriac.testing.memory import MemoryBus, in_memory
from celeriac.testing.process_instance import ProcessInstance
from celeriac.testing.run_result import Dead, NeverIdle, RunResult, Unfinished
from celeriac.testing.server import EmbeddedServer, ServerFailed, start_server
from celeriac.testing.workers import RunningWorkers, WorkerFailed, run_workers

__all__ = [
    "Captured",
    "Dead",
    "EmbeddedServer",
    "MemoryBus",
    "NeverIdle",
    "ProcessInstance",
    "RunResult",
    "RunningWorkers",
    "ServerFailed",
    "Unfinished",
    "WorkerFailed",
    "capture",
    "in_memory",
    "make_event",
    "run_workers",
    "start_server",
]
