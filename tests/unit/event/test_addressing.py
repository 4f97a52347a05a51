from __future__ import annotations

import pytest

from celeriac.errors import InvalidEvent
from celeriac.event.addressing import meant_for, split_handlers


def test_names_are_separated_by_single_spaces() -> None:
    assert split_handlers("a.b c.d") == ("a.b", "c.d")


def test_no_attribute_means_everyone() -> None:
    assert split_handlers(None) == ()


@pytest.mark.parametrize("text", ["", " ", "a.b ", "a.b  c.d", "a", "a.b\tc.d", ["a.b"], 5])
def test_a_bad_list_is_refused_and_never_read_as_everyone(text: object) -> None:
    with pytest.raises(InvalidEvent, match="`handlers`"):
        split_handlers(text)


def test_an_event_is_meant_for_those_it_names_or_for_everyone_whose_pattern_matches() -> None:
    assert meant_for("a.b", True, ())
    assert meant_for("a.b", True, ("c.d", "a.b"))
    assert not meant_for("a.b", True, ("c.d",))
    assert not meant_for("a.b", False, ("a.b",))
