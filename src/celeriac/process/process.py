"""The base class of processes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Generic, TypeVar, get_args, get_origin

from celeriac.errors import SubscriptionError
from celeriac.process.decision import Missing
from celeriac.process.definition import ProcessDefinition, define
from celeriac.process.effects import Effects, Undo

S = TypeVar("S")

WAIT, KEEP = timedelta(minutes=10), timedelta(days=30)


class Process(Generic[S]):
    """A business process: it waits for several events of one key, and keeps a state between them.

    Subclass it with the type of its state, `class Fulfilment(Process[State], inbox=Sessions)`, and
    register it with `bus.process(Fulfilment)`. There is at most one instance for each key. Each
    event runs one method, in a transaction of the inbox's database: the state, the timers and the
    emitted events are committed together, or not at all. Methods are plain functions that must not
    do input or output, because they run again after a failure.

    Options of the class:
        inbox: A SQLAlchemy sessionmaker or Engine (also the async ones), or DjangoInbox.
        key: What identifies the instance: `"subject"`, or another key of `bus.on`.
        missing: What happens to an event of `@on` before the instance has started: `"wait"` retries
            it for `wait` and then dead-letters it, `"start"` starts the instance, `"skip"` skips
            it.
        wait: How long `missing="wait"` waits. Seconds or a timedelta; default: 10 minutes.
        keep: How long an ended instance is kept; until then, its events are skipped, and its key
            cannot start again. Seconds or a timedelta; default: 30 days.
        name: The permanent name within the service. Default: the class's name in snake case.

    Attributes:
        state: The state of the instance. Change it, or assign a new one.
        key: The key of the instance.

    Raises:
        SubscriptionError: The class or an option is wrong. Raised at import, with the remedy.
    """

    definition: ClassVar[ProcessDefinition | None] = None

    state: S
    key: str
    _effects: Effects

    def __init_subclass__(
        cls,
        *,
        inbox: Any = None,
        key: str = "subject",
        missing: Missing = "wait",
        wait: float | timedelta = WAIT,
        keep: float | timedelta = KEEP,
        name: str | None = None,
    ) -> None:
        super().__init_subclass__()
        # A class without an inbox is a base class of processes.
        cls.definition = None
        if inbox is not None:
            cls.definition = define(
                cls,
                _state_type(cls),
                key=key,
                inbox=inbox,
                missing=missing,
                wait=wait,
                keep=keep,
                name=name,
            )

    @property
    def now(self) -> datetime:
        """The time of this step. In tests, the time of the bus in memory."""
        return datetime.fromtimestamp(self._effects.now_ms / 1000, UTC)

    def emit(
        self,
        type: str,
        data: Any = None,
        *,
        undo: Undo | None = None,
        delay: float | timedelta | None = None,
        at: datetime | None = None,
        **attributes: Any,
    ) -> str:
        """Emit an event when the step is committed, and return its id.

        Takes the attributes of [EventBus.emit][celeriac.EventBus.emit]. The id is derived from the
        handled event, so a repetition emits nothing twice. With `key="subject"`, the subject
        defaults to the instance's key.

        Args:
            undo: The event that `abort` emits to undo this one: its type, or `(type, data)`.

        Raises:
            InvalidEvent: An attribute is invalid. InvalidData is a subclass.
        """
        return self._effects.emit(type, data, undo, delay, at, attributes)

    def remind(
        self, name: str, *, after: float | timedelta | None = None, at: datetime | None = None
    ) -> None:
        """Run the method with `@reminded(name)` later. Replaces a timer of the same name.

        Args:
            after: Seconds or a timedelta from now. Excludes `at`.
            at: The time, with a time zone.

        Raises:
            ValueError: The name, or the time, is wrong.
        """
        self._effects.remind(name, after, at)

    def forget(self, name: str) -> None:
        """Remove a timer: its method does not run, even if the timer has expired. Idempotent.

        Raises ValueError for a name without `@reminded`.
        """
        self._effects.forget(name)

    def complete(self) -> None:
        """End the instance. Its timers are removed, and later events of its key are skipped."""
        self._effects.complete()

    def abort(self, reason: str) -> None:
        """End the instance and undo: emit the `undo` events, the newest first.

        Its timers are removed, and later events of its key are skipped.
        """
        self._effects.abort(reason)


def _state_type(cls: type[Any]) -> Any:
    for base in cls.__mro__:
        for generic in vars(base).get("__orig_bases__", ()):
            arguments = get_args(generic)
            if get_origin(generic) is Process and not isinstance(arguments[0], TypeVar):
                return arguments[0]
    raise SubscriptionError(
        f"process {cls.__qualname__} does not name the type of its state. Write "
        f"class {cls.__name__}(Process[State], …)"
    )


def made(cls: type[Process[Any]], state: Any, key: str, effects: Effects) -> Process[Any]:
    """Return an object of the class for one step."""
    process = cls()
    process.state, process.key, process._effects = state, key, effects
    return process
