"""Following the paths of an attribute through data: the reached values and the cost."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.event import Event, RawEvent, masked, sensitive_values
from celeriac.event.sensitive import MAX_PATHS, MAX_STEPS
from celeriac.event.sensitive_walk import MAX_COST, TooCostly, Walk


def event(data: Any, sensitive: str) -> RawEvent:
    raw = msgspec.Raw(msgspec.json.encode(data))
    return Event(id="1", source="s", type="a", data=raw, sensitive=sensitive)


def reaches(path: list[str], way: list[str]) -> bool:
    """A literal implementation of the reference: `*` is one step, `**` any number."""
    if not path:
        return not way
    if path[0] == "**":
        return any(reaches(path[1:], way[n:]) for n in range(len(way) + 1))
    return bool(way) and path[0] in ("*", way[0]) and reaches(path[1:], way[1:])


steps = st.sampled_from(["a", "b", "*", "**"])


@given(st.lists(st.lists(steps, min_size=1, max_size=5), min_size=1, max_size=3),
       st.lists(st.sampled_from("ab"), max_size=6))  # fmt: skip
def test_a_value_is_reached_where_one_of_the_paths_leads(
    paths: list[list[str]], way: list[str]
) -> None:
    walk = Walk(",".join(map(".".join, paths)))
    state = walk.start
    for name in way:
        state = walk.member(state, name)
    assert walk.is_reached(state) == any(reaches(path, way) for path in paths)


@pytest.mark.parametrize(
    "attribute",
    [
        ".".join(f"s{n}" for n in range(MAX_STEPS + 1)),
        ",".join(f"p{n}" for n in range(MAX_PATHS + 1)),
    ],
    ids=["steps", "paths"],
)
def test_paths_out_of_bounds_mask_all_of_the_data(attribute: str) -> None:
    assert masked(event({"a": 1}, attribute)) == "***"
    assert sensitive_values(event({"a": "secret"}, attribute)) == ["secret"]


def nested(names: list[str]) -> Any:
    data: Any = "secret"
    for name in reversed(names):
        data = {name: data}
    return data


def test_paths_that_are_dear_to_follow_mask_all_of_the_data() -> None:
    """Each name leads to more positions, and never to the same positions again."""
    dear = ",".join(f"**.a{n}.**.b" for n in range(MAX_PATHS))
    names = [f"a{n}" for n in range(200)]
    walk = Walk(dear)
    with pytest.raises(TooCostly):
        state = walk.start
        for name in names:
            state = walk.member(state, name)
    assert masked(event(nested(names), dear)) == "***"
    assert sensitive_values(event(nested(names), dear)) == ["secret"]


def test_what_a_walk_has_paid_for_is_not_paid_again() -> None:
    walk = Walk("**.card,items.*.iban")
    for _ in range(MAX_COST):
        walk.member(walk.member(walk.start, "x"), "card")


def test_data_that_is_nested_deeper_than_python_calls_gives_its_values_all_the_same() -> None:
    # Python 3.12 and later walk that deep; earlier ones give every value instead.
    deep = nested([*["a"] * 900, "card"])
    assert sensitive_values(event(deep, "**.card")) == ["secret"]
