"""Analytics counts all events, in batches."""

from __future__ import annotations

import logging
from collections import Counter

from celeriac import Event
from config import bus

logger = logging.getLogger(__name__)


@bus.on("#", batch=100)
def count_events(events: list[Event]) -> None:
    """Count up to a hundred events of all types, including types that are added later."""
    counts = Counter(event.type for event in events)
    logger.info("%s", ", ".join(f"{count} {type}" for type, count in counts.most_common()))
