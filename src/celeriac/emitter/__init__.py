from celeriac.emitter.async_emitter import AsyncEmitter
from celeriac.emitter.emitter import Emission, Emitter, check_recipients

__all__ = ["AsyncEmitter", "Emission", "Emitter", "check_recipients"]
