"""A service that reads data of subjects, whose keys are in the database at KEYS_URL."""

from __future__ import annotations

import os
from typing import Any

import redis
from sqlalchemy import create_engine

from celeriac import Event, EventBus
from celeriac.subject_keys import SqlSubjectKeys, create_subject_keys

effects = redis.Redis.from_url(os.environ["EFFECTS_URL"], decode_responses=True)
engine = create_engine(os.environ["KEYS_URL"])
create_subject_keys(engine)
bus = EventBus(lease=3.0, subject_keys=SqlSubjectKeys(engine, os.environ["MASTER_KEY"]))
app = bus.app


@bus.on("customer.*")
def note(event: Event[dict[str, Any]]) -> None:
    effects.rpush("effects:billing.note", f"{event.subject} {event.data['name']}")
