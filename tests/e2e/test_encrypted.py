"""Encrypted from the emitter to the handler: real workers, with the key and without it."""

from __future__ import annotations

import base64
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import redis

from celeriac import EventBus
from celeriac.delivery import Group
from celeriac.security.generate import generate
from tests.browser.flower import Flower
from tests.e2e.conftest import Deployment

CARD = "4111-1111-1111-1111-pomegranate"
IDS = ["declined", *(f"order-{n}" for n in range(5))]


def spelled(text: str) -> set[bytes]:
    """The text as it is, and what base64 makes of it wherever in the whole it begins."""
    found = {text.encode()}
    for before in range(3):
        coded = base64.b64encode(b"\0" * before + text.encode())
        # Without the characters that its neighbours have a part in.
        found.add(coded[4 if before else 0 : len(coded) // 4 * 4 - 4])
    return found


def seen(deployment: Deployment, service: str) -> list[str]:
    path = deployment.directory / "seen" / service
    return path.read_text().splitlines() if path.exists() else []


def start(
    deployment: Deployment, patch: pytest.MonkeyPatch, service: str, key: dict[str, Any] | None
) -> None:
    if key is None:
        patch.delenv("CELERIAC_ENCRYPTION_KEY", raising=False)
    else:
        patch.setenv("CELERIAC_ENCRYPTION_KEY", json.dumps(key))
    deployment.worker(service, app="sealed")
    deployment.joined(f"{service}.charge", "order")


def ever_written(deployment: Deployment) -> bytes:
    """Every command that changed anything on the server, from its log on the disk."""
    files = [file for file in (deployment.directory / "data").rglob("*.aof") if file.is_file()]
    return b"".join(file.read_bytes() for file in files)


def stored(deployment: Deployment) -> bytes:
    """All that is stored on the server now, as it would move to another one."""
    found = b""
    for database in range(16):
        client: Any = redis.Redis.from_url(f"{deployment.server.url.removesuffix('/0')}/{database}")
        for key in client.scan_iter(count=1000):
            reads = {
                b"string": client.get,
                b"hash": client.hgetall,
                b"list": lambda key, client=client: client.lrange(key, 0, -1),
                b"set": client.smembers,
                b"zset": lambda key, client=client: client.zrange(key, 0, -1),
                b"stream": client.xrange,
                b"none": lambda key: b"",  # deleted or expired since
            }
            found += b"%r %r\n" % (key, reads[client.type(key)](key))
        client.close()
    return found


def test_only_a_named_service_reads_it_and_it_is_stored_nowhere_in_plain(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "seen").mkdir()
    monkeypatch.setenv("SEEN", str(tmp_path / "seen"))
    private, public = generate("billing", encryption=True)
    start(deployment, monkeypatch, "billing", private)
    start(deployment, monkeypatch, "mail", None)
    bus = EventBus(
        service="orders", redis_url=deployment.server.url, trusted_keys=json.dumps(public)
    )
    for id in IDS:
        bus.emit("order.paid", {"card": CARD}, id=id, encrypt_for=["billing"])
    deployment.until_settled()

    wanted = Counter(f"{id} {CARD}" for id in (*IDS, "declined"))  # declined is retried once
    assert Counter(seen(deployment, "billing")) == wanted
    assert seen(deployment, "mail") == []
    letters = deployment.bus.service.backend.deliveries.dead("order")
    errors = {(letter.handler, letter.event_id): letter.error for letter in letters}
    assert errors.pop(("billing.charge", "declined")) == "ValueError: *** was declined"
    assert sorted(errors) == sorted(("mail.charge", id) for id in IDS)
    assert all(
        error.startswith(
            "EncryptionError: cannot be decrypted: it is encrypted for the keys billing"
        )
        for error in errors.values()
    )
    assert deployment.missing() == 0

    assert deployment.matrix.status("order-1").data == "encrypted for billing"
    flower = Flower(deployment.bus.settings, tmp_path)
    try:
        flower.start()
        pages = {path: flower.ask(path) for path in ("/event/order-1", "/events", "/dead")}
    finally:
        flower.stop()
    assert {answer.status for answer in pages.values()} == {200}
    assert "encrypted for billing" in pages["/event/order-1"].text

    written, lies = ever_written(deployment), stored(deployment)
    # Both are read from the right place, and hold what is no secret.
    assert b"order-1" in written and b"order-1" in lies
    shown = "".join(answer.text for answer in pages.values()).encode()
    said = "".join(worker.said() for worker in deployment.workers).encode()
    for spelling in spelled(CARD):
        for where in (written, lies, shown, said):
            assert spelling not in where


def test_what_could_not_be_read_is_redriven_once_the_key_is_there(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "seen").mkdir()
    monkeypatch.setenv("SEEN", str(tmp_path / "seen"))
    private, public = generate("mail", encryption=True)
    start(deployment, monkeypatch, "mail", None)
    bus = EventBus(
        service="orders", redis_url=deployment.server.url, trusted_keys=json.dumps(public)
    )
    bus.emit("order.paid", {"card": CARD}, id="a", encrypt_for=["mail"])
    deliveries = deployment.bus.service.backend.deliveries
    deployment.until(lambda: len(deliveries.dead("order")) == 1, what="the dead letter")
    assert deployment.workers[0].stop() == 0
    start(deployment, monkeypatch, "mail", private)
    (letter,) = deliveries.dead("order")
    assert deliveries.redrive(Group("order", "mail.charge"), [(letter, letter.event)])
    deployment.until(lambda: seen(deployment, "mail") == [f"a {CARD}"], what="the second run")
    deployment.until_settled()
    assert deliveries.dead("order") == []
