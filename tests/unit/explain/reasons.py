"""One situation for each reason. Each prepares a bus, and returns the event id and the handler."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from celeriac import Skip
from celeriac.delivery import Group
from celeriac.event import encode
from celeriac.event.build import build_event
from celeriac.event_log import EntryKind
from celeriac.store.memory.event_log import MemoryEventLog
from celeriac.store.redis.event_log import RedisEventLog
from tests.unit.tracking.shop import Shop

CHARGE = "billing.charge"


class Asked(NamedTuple):
    """`near` names the entry, `domain/entry`, where the first one of the event is not meant."""

    event_id: str
    handler: str
    near: str = ""


def decline(_: object) -> None:
    raise ValueError("declined")


def group() -> Group:
    return Group("order", CHARGE)


def started(shop: Shop, *patterns: str, **options: Any) -> None:
    shop.on(CHARGE, *(patterns or ("order.*",)), **options)
    shop.start()


def never_emitted(shop: Shop) -> Asked:
    started(shop)
    shop.emit("order.placed")
    return Asked("nope", CHARGE)


def processed_and_trimmed(shop: Shop) -> Asked:
    started(shop, retries=1, backoff=0.0, function=fail_once())
    id = shop.emit("order.placed")
    shop.run_until_idle()
    shop.run_until_idle()
    shop.backend.bus.set("retention_count", "1")
    shop.emit("order.placed")
    shop.run_until_idle()
    shop.backend.event_log.trim("order", exact=True)
    return Asked(id, CHARGE)


def fail_once() -> Any:
    calls: list[object] = []

    def function(event: object) -> None:
        calls.append(event)
        if len(calls) == 1:
            raise ValueError("once")

    return function


def not_registered(shop: Shop) -> Asked:
    started(shop)
    return Asked(shop.emit("order.placed"), "billing.refund")


def removed(shop: Shop) -> Asked:
    started(shop)
    shop.backend.registry.unregister(CHARGE)
    return Asked(shop.emit("order.placed"), CHARGE)


def other_pattern(shop: Shop) -> Asked:
    started(shop, "payment.#", "order.paid")
    return Asked(shop.emit("order.placed"), CHARGE)


def addressed_to_another(shop: Shop) -> Asked:
    shop.on("mail.send", "order.*")
    started(shop)
    return Asked(shop.emit("order.placed", handlers=["mail.send"]), CHARGE)


def registered_later(shop: Shop) -> Asked:
    id = shop.emit("order.placed")
    started(shop)
    return Asked(id, CHARGE)


def pattern_added_later(shop: Shop) -> Asked:
    started(shop, "order.paid")
    id = shop.emit("order.placed")
    shop.run_until_idle()
    [record] = shop.backend.registry.handlers().values()
    added = {"order.placed": shop.backend.registry.now_ms() + 1000}
    patterns = ("order.paid", "order.placed")
    shop.backend.registry.register(msgspec.structs.replace(record, patterns=patterns, added=added))
    return Asked(id, CHARGE)


def duplicate(shop: Shop) -> Asked:
    """The second entry of an event whose first is processed; it is the one that is found."""
    started(shop, retries=1, backoff=0.0, function=fail_once())
    event = encode(build_event("order.placed", None, source="shop", id="order-1"))
    shop.backend.event_log.append("order", event, EntryKind.FOREIGN)
    shop.run_until_idle()
    shop.run_until_idle()
    second = shop.backend.event_log.append("order", event, EntryKind.FOREIGN)
    shop.run_until_idle()
    return Asked("order-1", CHARGE, f"order/{second}")


def rejected_by_when(shop: Shop) -> Asked:
    started(shop, when=lambda event: event.data["n"] > 1)
    id = shop.emit("order.placed", {"n": 1})
    shop.run_until_idle()
    return Asked(id, CHARGE)


def skipped_by_its_handler(shop: Shop) -> Asked:
    def refuse(_: object) -> None:
        raise Skip("a test order")

    started(shop, function=refuse)
    id = shop.emit("order.placed")
    shop.run_until_idle()
    return Asked(id, CHARGE)


def outside_of_its_share(shop: Shop) -> Asked:
    """`order/1` is at 0.95 of all subjects, `order/2` at 0.06."""
    started(shop, share=0.3)
    shop.emit("order.placed", subject="order/2")
    id = shop.emit("order.placed", subject="order/1")
    shop.run_until_idle()
    return Asked(id, CHARGE)


def of_another_tenant(shop: Shop) -> Asked:
    started(shop, tenants=["globex", "initech"])
    id = shop.emit("order.placed", tenant="acme")
    shop.run_until_idle()
    return Asked(id, CHARGE)


def without_a_tenant(shop: Shop) -> Asked:
    started(shop, tenants=["acme"])
    id = shop.emit("order.placed")
    shop.run_until_idle()
    return Asked(id, CHARGE)


def unsigned(shop: Shop) -> Asked:
    started(shop, signed=True)
    return Asked(shop.emit("order.placed"), CHARGE)


def data_does_not_fit(shop: Shop) -> Asked:
    started(shop, retries=0, function=refuse_data)
    id = shop.emit("order.placed", {"n": 1})
    shop.run_until_idle()
    return Asked(id, CHARGE)


def refuse_data(_: object) -> None:
    from celeriac.errors import EncryptionError

    raise EncryptionError("cannot be decrypted: no key of ours is among its recipients")


def paused(shop: Shop) -> Asked:
    started(shop)
    shop.backend.circuits.pause(CHARGE, reason="maintenance")
    return Asked(shop.emit("order.placed"), CHARGE)


def breaker_open(shop: Shop) -> Asked:
    from celeriac.circuit_breaker import Breaker

    started(shop)
    breaker = Breaker(failures=1, window=60, recovery_timeout=30)
    shop.backend.circuits.record(CHARGE, breaker, 1, 1, "ConnectionError: bank")
    return Asked(shop.emit("order.placed"), CHARGE)


def behind_its_sequence(shop: Shop) -> Asked:
    started(shop, ordered=True, backoff=600.0, function=decline)
    shop.emit("order.placed", subject="order/1", id="first")
    shop.run_until_idle()
    id = shop.emit("order.placed", subject="order/1")
    shop.run_until_idle()
    return Asked(id, CHARGE)


def concurrency_used_up(shop: Shop) -> Asked:
    started(shop, concurrency=1, ordered=True)
    shop.emit("order.placed", subject="order/1", id="first")
    shop.dispatch()
    return Asked(shop.emit("order.placed", subject="order/2"), CHARGE)


def rate_used_up(shop: Shop) -> Asked:
    started(shop, rate_limit="1/h")
    shop.emit("order.placed")
    shop.run_until_idle()
    return Asked(shop.emit("order.placed"), CHARGE)


def no_worker(shop: Shop) -> Asked:
    started(shop)
    for worker in shop.backend.registry.workers():
        shop.backend.registry.depart(worker.name)
    return Asked(shop.emit("order.placed"), CHARGE)


def no_worker_on_its_queue(shop: Shop) -> Asked:
    started(shop, queue="slow")
    for worker in shop.backend.registry.workers():
        shop.backend.registry.heartbeat(
            msgspec.structs.replace(worker, queues=("billing", "fast"), handlers=())
        )
    return Asked(shop.emit("order.placed"), CHARGE)


def not_in_the_code(shop: Shop) -> Asked:
    started(shop)
    for worker in shop.backend.registry.workers():
        shop.backend.registry.heartbeat(msgspec.structs.replace(worker, handlers=()))
    return Asked(shop.emit("order.placed"), CHARGE)


def queued(shop: Shop) -> Asked:
    started(shop)
    id = shop.emit("order.placed")
    shop.dispatch()
    return Asked(id, CHARGE)


def running_on_a_dead_worker(shop: Shop) -> Asked:
    started(shop, ordered=True)
    id = shop.emit("order.placed", subject="order/1")
    shop.dispatch()
    [(_, chunk)] = shop.chunks
    shop.backend.deliveries.claim("gone@host/1", chunk.group, chunk.pairs, 5)
    return Asked(id, CHARGE)


def running_elsewhere(shop: Shop) -> Asked:
    started(shop, ordered=True)
    id = shop.emit("order.placed", subject="order/1")
    shop.dispatch()
    [(service, chunk)] = shop.chunks
    shop.backend.deliveries.claim(service.worker, chunk.group, chunk.pairs, 5)
    return Asked(id, CHARGE)


def scheduled(shop: Shop) -> Asked:
    started(shop, backoff=600.0, function=decline)
    id = shop.emit("order.placed")
    shop.run_until_idle()
    return Asked(id, CHARGE)


def delayed(shop: Shop) -> Asked:
    started(shop)
    shop.emit("order.placed")
    return Asked(shop.emit("order.placed", delay=3600), CHARGE)


def not_fetched(shop: Shop) -> Asked:
    started(shop)
    return Asked(shop.emit("order.placed"), CHARGE)


def dead(shop: Shop) -> Asked:
    started(shop, retries=0, function=decline)
    id = shop.emit("order.placed")
    shop.run_until_idle()
    return Asked(id, CHARGE)


def lost_its_group(shop: Shop) -> Asked:
    started(shop)
    id = shop.emit("order.placed")
    shop.backend.event_log.leave("order", CHARGE)
    return Asked(id, CHARGE)


def forgotten(shop: Shop) -> Asked:
    """A record that is gone, of an entry older than the window."""
    started(shop)
    body, event_log = (
        encode(build_event("order.placed", None, source="shop", id="old")),
        shop.backend.event_log,
    )
    if isinstance(event_log, RedisEventLog):
        event_log.client.xadd(event_log.keys.events("order"), {"event": body}, id="1000-0")
    else:
        event_log.append("order", body)
    shop.run_until_idle()
    shop.backend.deliveries.forget(group())
    if isinstance(event_log, MemoryEventLog):
        event_log.clock.advance(10 * 86_400_000)
    return Asked("old", CHARGE)


def processed(shop: Shop) -> Asked:
    started(shop)
    id = shop.emit("order.placed")
    shop.run_until_idle()
    return Asked(id, CHARGE)
