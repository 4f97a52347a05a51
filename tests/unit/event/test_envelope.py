from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from celeriac.event import Event, build_event


def event() -> Event[dict[str, str]]:
    return build_event("order.placed", {"card": "4111"}, source="/orders", id="1", subject="o/1")


def test_the_repr_names_type_id_and_subject_and_never_the_data() -> None:
    assert repr(event()) == "Event('order.placed', id='1', subject='o/1')"
    assert str(event()) == repr(event())
    assert repr(build_event("a", 1, source="s", id="1")) == "Event('a', id='1')"


def test_the_repr_of_rich_has_no_data_either() -> None:
    assert event().__rich_repr__() == [("type", "order.placed"), ("id", "1"), ("subject", "o/1")]
    assert build_event("a", 1, source="s", id="1").__rich_repr__() == [("type", "a"), ("id", "1")]


def test_an_event_cannot_be_changed() -> None:
    changing: Any = event()
    with pytest.raises(AttributeError):
        changing.type = "order.amended"


@pytest.mark.parametrize(
    ("type_", "domain"), [("order.placed", "order"), ("order", "order"), ("a.b.c", "a")]
)
def test_the_domain_is_the_first_segment_of_the_type(type_: str, domain: str) -> None:
    assert build_event(type_, None, source="s").domain == domain


def test_with_data_changes_the_data_and_nothing_else() -> None:
    before = event()
    after = before.with_data(5)
    assert after.data == 5
    assert after.with_data(before.data) == before


def test_an_event_can_be_pickled_and_copied() -> None:
    assert pickle.loads(pickle.dumps(event())).id == "1"
    assert copy.deepcopy(build_event("a", [1], source="s", extensions={"k": 1})).extensions == {
        "k": 1
    }
