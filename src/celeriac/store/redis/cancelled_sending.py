"""A coroutine that is cancelled while redis-py sends its command ends, on Python 3.11 as well.

redis-py 5.2 to 8.1 sends with `asyncio.wait_for`. That of Python 3.11 returns normally if it is
cancelled when the sending is just done (https://github.com/python/cpython/issues/86296): the caller
waits for the reply, and continues as if it had not been cancelled. Python 3.12 raises
CancelledError. This file can be removed with support for Python 3.11.
"""

from __future__ import annotations

import asyncio
import sys
from functools import cache
from typing import Any


class NoticesCancellation:
    async def send_packed_command(self, *args: Any, **options: Any) -> None:
        task = asyncio.current_task()
        before = task.cancelling() if task else 0
        await super().send_packed_command(*args, **options)  # type: ignore[misc]
        if task and task.cancelling() > before:
            # Its reply would be taken for that of the next command.
            await self.disconnect(nowait=True)  # type: ignore[attr-defined]
            raise asyncio.CancelledError


def notice_cancellation(pool: Any) -> None:
    """Have the connections that an asyncio pool will open raise each cancellation."""
    if sys.version_info < (3, 12):
        pool.connection_class = _noticing(pool.connection_class)


@cache
def _noticing(connection_class: type) -> type:
    return type(connection_class.__name__, (NoticesCancellation, connection_class), {})
