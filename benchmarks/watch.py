"""`python -m benchmarks.watch MODULE`: receives every task event of an app into Celery's own state.

That is what Flower does to show tasks, without its pages.
"""

from __future__ import annotations

import sys
from importlib import import_module


def main(module: str) -> None:
    app = import_module(module).app
    state = app.events.State()
    with app.connection() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": state.event})
        receiver.capture(limit=None, timeout=None, wakeup=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
