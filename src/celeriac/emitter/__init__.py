from celeriac.emitter.async_emitter import AsyncEmitter
from celeriac.emitter.cancel import cancel_event
from celeriac.emitter.emitter import Emission, Emitter, check_recipients
from celeriac.emitter.received import received_event
from celeriac.emitter.request import Until, arequest, make_request, request
from celeriac.emitter.returned import ReturnedEvents
from celeriac.emitter.tick import declare_schedule

__all__ = [
    "AsyncEmitter",
    "Emission",
    "Emitter",
    "ReturnedEvents",
    "Until",
    "arequest",
    "cancel_event",
    "check_recipients",
    "declare_schedule",
    "make_request",
    "received_event",
    "request",
]
