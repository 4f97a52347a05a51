from celeriac.dispatcher.chunk import Chunk
from celeriac.dispatcher.dispatcher import Dispatcher

__all__ = ["Chunk", "Dispatcher"]
