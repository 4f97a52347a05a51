"""The gateway of celeriac, with one token."""

from __future__ import annotations

from benchmarks.payload import SECRET, SOURCE
from benchmarks.peers import work
from celeriac import EventBus
from celeriac.gateway import Token, gateway

bus = EventBus(service=work.SERVICE, redis_url=work.URL)
app = gateway(bus, tokens=[Token("bench", SECRET, ["order.*"], SOURCE)])
