from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

import pytest

from celeriac.event import Event, event_type_argument, is_batch

X = TypeVar("X")


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (Event, Any),
        (Event[Any], Any),
        (Event[int], int),
        (Event[dict[str, int]], dict[str, int]),
        (Event[None], type(None)),
        (Event[X], Any),  # type: ignore[valid-type]
        (list[Event], Any),
        (list[Event[int]], int),
        (Sequence[Event[int]], int),
        (Annotated[Event[int], "doc"], int),
        (Annotated[list[Event[int]], "doc"], int),
        (int, None),
        (list[int], None),
        (dict[str, Event[int]], None),
        (Any, None),
        ("Event", None),
        (list, None),
    ],
)
def test_the_type_of_the_data_is_the_argument_of_event(annotation: Any, expected: Any) -> None:
    assert event_type_argument(annotation) == expected


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (list[Event], True),
        (list[Event[int]], True),
        (Annotated[list[Event], "doc"], True),
        (Event[list[int]], False),
        (list[int], False),
    ],
)
def test_a_batch_is_a_list_of_events(annotation: Any, expected: bool) -> None:
    assert is_batch(annotation) is expected
