from collections.abc import Callable

from celeriac.emitter.aio import AsyncEmitter
from celeriac.emitter.emitter import Emission, Emitter, check_recipients
from celeriac.event_log import AsyncLog, EventLog
from celeriac.observability.tracing import tracing_of
from celeriac.settings import Settings


def make_emitters(
    settings: Settings, log: Callable[[], EventLog], async_log: Callable[[], AsyncLog]
) -> tuple[Emitter, AsyncEmitter]:
    """The emitters of a bus, traced where the settings say so.

    Chosen once, so that what is not traced pays nothing for it.
    """
    tracing = tracing_of(settings)
    if tracing is None:
        emitter = Emitter(settings, log)
        return emitter, AsyncEmitter(emitter, async_log)
    from celeriac.emitter.traced import TracedAsyncEmitter, TracedEmitter

    traced = TracedEmitter(settings, log, tracing)
    return traced, TracedAsyncEmitter(traced, async_log)


__all__ = ["AsyncEmitter", "Emission", "Emitter", "check_recipients", "make_emitters"]
