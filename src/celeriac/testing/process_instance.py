"""The instance of a process on a bus in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from celeriac.process import Process, Status
from celeriac.process.instance import ProcessStep
from celeriac.process.memory import MemoryProcesses
from celeriac.process.register import definition_of


@dataclass(frozen=True, slots=True)
class ProcessInstance:
    """An instance at one time.

    Attributes:
        state: The state, as the process has it.
        timers: The timers that are set, and when each expires.
        reason: Why it was aborted.
        steps: What each event changed, oldest first.
    """

    status: Status
    state: Any
    timers: Mapping[str, datetime]
    reason: str
    steps: tuple[ProcessStep, ...]

    @classmethod
    def of(
        cls, processes: MemoryProcesses, process: type[Process[Any]], key: str
    ) -> ProcessInstance:
        """Return the instance. Raises LookupError if there is none."""
        definition = definition_of(process)
        for (handler, instance_key), instance in processes.instances.items():
            if instance_key == key and handler.partition(".")[2] == definition.name:
                return cls(
                    status=instance.status,
                    state=definition.state.read(instance.state, instance.version, key),
                    timers={
                        name: datetime.fromtimestamp(timer.at_ms / 1000, UTC)
                        for name, timer in instance.timers.items()
                    },
                    reason=instance.reason,
                    steps=tuple(processes.steps[handler, key]),
                )
        known = ", ".join(sorted(key for _, key in processes.instances)) or "none"
        raise LookupError(
            f"{process.__qualname__} has no instance {key!r}. The instances are {known}"
        )
