"""Any request is answered with a documented status, and what is accepted can be decoded."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
from hypothesis import given, settings
from hypothesis import strategies as st

from celeriac import EventBus
from celeriac.event import decode
from celeriac.event.http_message import BATCH, STRUCTURED
from celeriac.gateway import Stripe, Token, gateway
from celeriac.testing.store import Store
from tests.fuzz.test_fuzz import envelopes
from tests.unit.gateway.conftest import AUTHORIZED, SECRET

DOCUMENTED = {202, 400, 401, 403, 413, 415}
values = st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=20)
names = st.sampled_from(
    ["ce-id", "ce-type", "ce-source", "ce-specversion", "ce-time", "ce-", "ce-data", "ce-a b",
     "content-encoding", "traceparent", "stripe-signature", "content-length"]
)  # fmt: skip
likely = st.sampled_from(
    ["1.0", "parcel.sent", "s", "2026-01-31T12:00:00Z", "identity", "t=1,v1=0"]
)
headers = st.lists(st.tuples(names, likely | values), max_size=8)
content_types = st.sampled_from([STRUCTURED, BATCH, "application/json", "text/plain", ""]) | values
bodies = st.binary(max_size=60) | st.one_of(
    envelopes, st.lists(envelopes, max_size=3).map(lambda many: f"[{','.join(many)}]")
).map(str.encode)


@settings(max_examples=300)
@given(path=st.sampled_from(["/events", "/hooks/stripe"]), given=headers, kind=content_types,
       body=bodies)  # fmt: skip
def test_any_request_is_answered(
    path: str, given: list[tuple[str, str]], kind: str, body: bytes
) -> None:
    bus = EventBus(service="billing", redis_url="redis://127.0.0.1:1/0")
    store = Store(bus.settings)
    tokens = [Token("partner", SECRET, ["#"], "s")]
    sent = [*AUTHORIZED.items(), ("content-type", kind), *given]
    encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in sent]

    async def run(app: Any) -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            return await client.post(path, headers=encoded, content=body)

    with store.installed():
        answer = asyncio.run(
            run(gateway(bus, tokens=tokens, hooks={"stripe": Stripe("secret-of-the-hook")}))
        )
    assert answer.status_code in DOCUMENTED, answer.text
    for domain in store.event_log.domains():
        for entry in store.event_log.read(domain):
            decode(entry.body or b"")
            assert answer.status_code == 202
    if answer.status_code != 202:
        assert json.loads(answer.content)["detail"]
