"""Detect whether a monitor receives task events: Flower, `celery events`, any event receiver.

The check publishes a batch of no events, in the format of Celery's event dispatcher, and reads from
the broker whether a receiver got it. Receivers handle it as an empty list. The workers' own
receivers (gossip) are bound to worker events only.

kombu has no API for this with Redis: it drops the reply of PUBLISH. This file therefore builds the
message and its channel itself (checked with kombu 5.5 to 5.7: `Channel.client`, `keyprefix_fanout`,
`fanout_patterns`). RabbitMQ returns a `mandatory` message that it cannot route.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from typing import Any, cast
from uuid import uuid4

import kombu

ROUTING_KEY = "task.multi"
NO_EVENTS: list[Any] = []


def receiver_check(dispatcher: Any) -> Callable[[], bool]:
    """Return a function that asks the broker of the dispatcher's connection, in one round trip.

    The function raises what kombu raises if the broker is unreachable. On a transport without such
    a check it returns True.
    """
    driver = dispatcher.connection.transport.driver_type
    if driver == "redis":
        return lambda: _published(dispatcher.connection.default_channel, dispatcher.exchange.name)
    if driver == "amqp":
        return _Routed(dispatcher)
    return lambda: True


def _published(channel: Any, exchange: str) -> bool:
    if getattr(channel, "sentinel_fanout_compat", False):
        return True  # receivers of old releases subscribe elsewhere
    client = channel.client  # first: it completes the prefix with the number of the database
    topic = f"{channel.keyprefix_fanout}{exchange}"
    if channel.fanout_patterns:
        topic = f"{topic}/{ROUTING_KEY}"
    return bool(client.publish(topic, json.dumps(_message(exchange))))


def _message(exchange: str) -> dict[str, Any]:
    return {
        "body": b64encode(json.dumps(NO_EVENTS).encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {},
        "properties": {
            "body_encoding": "base64",
            "delivery_mode": 1,
            "delivery_info": {"exchange": exchange, "routing_key": ROUTING_KEY},
            "priority": 0,
            "delivery_tag": str(uuid4()),
        },
    }


class _Routed:
    """Keeps a separate channel open: RabbitMQ counts channels that open and close."""

    def __init__(self, dispatcher: Any) -> None:
        self._dispatcher = dispatcher
        self._channel: Any = None
        self._producer: Any = None
        self._returned = False

    def __call__(self) -> bool:
        # Threads and greenlets that send events write to the same connection.
        with self._dispatcher.mutex:
            channel = self._channel
            if channel is None or not channel.is_open:
                channel = self._open()
            self._returned = False
            self._producer.publish(
                NO_EVENTS,
                routing_key=ROUTING_KEY,
                serializer="json",
                delivery_mode=1,
                mandatory=True,
            )
            # Any method with a reply: RabbitMQ returns the message before it replies.
            channel.basic_qos(0, 1, False)
            return not self._returned

    def _open(self) -> Any:
        self._channel = channel = self._dispatcher.connection.channel()
        self._dispatcher.exchange(channel).declare()
        self._producer = cast("Any", kombu).Producer(
            channel,
            exchange=self._dispatcher.exchange,
            auto_declare=False,
            on_return=self._on_return,
        )
        return channel

    def _on_return(self, *_: Any) -> None:
        self._returned = True
