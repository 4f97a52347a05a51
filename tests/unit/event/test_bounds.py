"""Maximum lengths of attributes, which appear in lists, logs and Celery messages."""

from __future__ import annotations

import json
from typing import Any

import pytest

from celeriac.errors import InvalidEvent
from celeriac.event import build_event, decode


def raw_event(**members: Any) -> bytes:
    basic = {"specversion": "1.0", "id": "1", "source": "s", "type": "a"}
    return json.dumps({**basic, **members}).encode()


@pytest.mark.parametrize(
    "name",
    ["source", "subject", "correlationid", "causationid", "partitionkey", "keyid", "signature",
     "region"],
)  # fmt: skip
def test_an_attribute_has_at_most_1024_characters_when_it_is_read(name: str) -> None:
    decode(raw_event(**{name: "é" * 1024}))
    with pytest.raises(InvalidEvent, match=f"`{name}` is 1,025 characters long"):
        decode(raw_event(**{name: "é" * 1025}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("datacontenttype", "text/plain; a=" + "b" * 1024),
        ("dataschema", "https://example.com/" + "x" * 1024),
        ("sensitive", "x" * 8193),
        ("handlers", " ".join(["a.b"] * 2050)),
        ("handlers", "a." + "b" * 254),
        ("a" * 256, "x"),
    ],
)
def test_every_other_attribute_is_bounded_as_well(name: str, value: str) -> None:
    with pytest.raises(InvalidEvent, match="characters long"):
        decode(raw_event(**{name: value}))


def test_an_event_has_at_most_100_extensions() -> None:
    decode(raw_event(**{f"x{n}": "" for n in range(100)}))
    with pytest.raises(InvalidEvent, match="101 extension attributes, at most 100"):
        decode(raw_event(**{f"x{n}": "" for n in range(101)}))


def test_the_bounds_hold_when_an_event_is_made() -> None:
    build_event("a", source="s", data=None, subject="x" * 1024, sensitive="x" * 8192)
    for attributes in ({"subject": "x" * 1025}, {"sensitive": "x" * 8193}):
        with pytest.raises(InvalidEvent, match="characters long"):
            build_event("a", None, source="s", **attributes)  # type: ignore[arg-type]
