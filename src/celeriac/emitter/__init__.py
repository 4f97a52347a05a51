from collections.abc import Callable

from celeriac.emitter.async_emitter import AsyncEmitter
from celeriac.emitter.emitter import Emission, Emitter, check_recipients
from celeriac.event_log import AsyncEventLog, EventLog
from celeriac.observability.tracing import tracing_of
from celeriac.settings import Settings


def make_emitters(
    settings: Settings,
    event_log: Callable[[], EventLog],
    async_event_log: Callable[[], AsyncEventLog],
) -> tuple[Emitter, AsyncEmitter]:
    """The emitters of a bus, traced where the settings say so.

    Chosen once, so that what is not traced pays nothing for it.
    """
    tracing = tracing_of(settings)
    if tracing is None:
        emitter = Emitter(settings, event_log)
        return emitter, AsyncEmitter(emitter, async_event_log)
    from celeriac.emitter.traced import TracedAsyncEmitter, TracedEmitter

    traced = TracedEmitter(settings, event_log, tracing)
    return traced, TracedAsyncEmitter(traced, async_event_log)


__all__ = ["AsyncEmitter", "Emission", "Emitter", "check_recipients", "make_emitters"]
