from celeriac.emitter.aio import AsyncEmitter
from celeriac.emitter.emitter import Emission, Emitter

__all__ = ["AsyncEmitter", "Emission", "Emitter"]
