"""Append events of each domain in one transaction, so that a refusal changes no order.

Redis reads a long pipeline in parts. It can refuse the first commands and accept the last ones: at
the end of loading its data, or when a replica returns. The refused events, tried again, would then
follow the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from celeriac.event_log.event_log import Item
from celeriac.store.redis.connection import Client
from celeriac.store.redis.packing import Packing, refuse_first


def append_in_order(client: Client, packing: Packing, items: Sequence[Item], window: float) -> None:
    """Append events of one round trip. `window` is in seconds.

    Raises the first error, with the number of events that were appended before it as `appended`.
    If Redis refuses a command, no event of its domain is appended.
    """
    runs = [packing.commands(list(run), window) for _, run in groupby(items, lambda item: item[0])]
    executed = client.transact_many([[words for words, _ in commands] for commands in runs])
    answers = [
        reply for run in executed for reply in ([run] if isinstance(run, Exception) else run)
    ]
    # The error of a run is its only reply. The counts before the first error match their replies.
    refuse_first(answers, [count for commands in runs for _, count in commands])
