"""Testing services without Redis: `capture` what is emitted, or run the handlers `in_memory`."""

from celeriac.testing.capture import capture
from celeriac.testing.captured import Captured
from celeriac.testing.events import make_event
from celeriac.testing.memory import MemoryBus, in_memory
from celeriac.testing.run_result import Dead, NeverIdle, RunResult, Unfinished

__all__ = [
    "Captured",
    "Dead",
    "MemoryBus",
    "NeverIdle",
    "RunResult",
    "Unfinished",
    "capture",
    "in_memory",
    "make_event",
]
