"""The service's queue in RabbitMQ, for faults that affect it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from amqp.exceptions import NotFound  # type: ignore[import-untyped]
from kombu.connection import Connection

from devtools.faults.apps.handlers import SERVICE


class RabbitQueue:
    """Each call opens a connection of its own. Raises OSError while the node is away."""

    def __init__(self, url: str) -> None:
        self._url = url

    def delete(self) -> int:
        """Deletes the queue; returns how many messages it held. 0 if there is none."""
        with self._channel() as channel:
            return int(channel.queue_delete(SERVICE))

    def purge(self) -> int:
        """Removes what waits in it; returns how many messages that was."""
        with self._channel() as channel:
            return int(channel.queue_purge(SERVICE))

    def double(self) -> int:
        """Puts each message that waits in it back twice; returns how many there were."""
        with self._channel() as channel:
            response: list[Any] = []
            while (message := channel.basic_get(SERVICE, no_ack=True)) is not None:
                response.append(message)
            for message in [*response, *response]:
                channel.basic_publish(message, exchange="", routing_key=SERVICE)
            return len(response)

    def waiting(self) -> int:
        """How many messages wait in it."""
        with self._channel() as channel:
            try:
                return int(channel.queue_declare(SERVICE, passive=True).message_count)
            except NotFound:
                return 0

    @contextmanager
    def _channel(self) -> Iterator[Any]:
        with Connection(  # type: ignore[no-untyped-call]
            self._url, connect_timeout=5, transport_options={"confirm_publish": True}
        ) as connection:
            yield connection.channel()
