from __future__ import annotations

from typing import Any

import pytest

from celeriac.errors import InvalidEvent
from celeriac.event import Event, Extensions, validate


def made_by_hand(**attributes: Any) -> Event[Any]:
    return Event(**{"id": "1", "source": "s", "type": "a", **attributes})


def test_a_minimal_event_is_valid() -> None:
    validate(made_by_hand())


def test_extensions_of_the_constructor_are_valid() -> None:
    validate(made_by_hand(extensions=Extensions({"region": "a"}), handlers=("a.b",)))


@pytest.mark.parametrize(
    ("attributes", "named"),
    [
        ({"handlers": "a.b"}, "`handlers`"),
        ({"handlers": ["a.b"]}, "`handlers`"),
        ({"handlers": None}, "`handlers`"),
        ({"handlers": ("a",)}, "`handlers`"),
        ({"extensions": None}, "`extensions`"),
        ({"extensions": {"x": 1.5}}, "`x`"),
        ({"id": None}, "`id`"),
    ],
)
def test_an_event_of_the_constructor_is_checked_too(attributes: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidEvent, match=named):
        validate(made_by_hand(**attributes))
