"""Commands that run until a signal stops them: their log, and their signals."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable


def log_to_stderr() -> None:
    """Log INFO and above, with the time of each line."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")


def stop_on_signals(stop: Callable[[], None]) -> None:
    """Call `stop` on SIGTERM and SIGINT."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop())
