"""A gateway for the example services in other languages."""

import os

from celeriac import EventBus
from celeriac.gateway import Token, gateway

bus = EventBus(service="gateway", lease=float(os.environ["LEASE"]))
app = gateway(
    bus,
    tokens=[
        Token("search", os.environ["SEARCH_TOKEN"], types=["search.*"], handlers=["search.*"]),
        Token("parcel", os.environ["PARCEL_TOKEN"], types=["parcel.*"], handlers=["parcel.*"]),
    ],
)
