from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from celeriac.event import Extensions


def test_extensions_are_a_mapping() -> None:
    found = Extensions({"tenant": "a", "retry": 2})
    assert dict(found) == {"tenant": "a", "retry": 2}
    assert found == {"tenant": "a", "retry": 2}
    assert len(found) == 2


def test_extensions_cannot_be_changed() -> None:
    source: dict[str, Any] = {"tenant": "a"}
    found: Any = Extensions(source)
    source["tenant"] = "b"
    assert found["tenant"] == "a"
    with pytest.raises(TypeError):
        found["tenant"] = "b"


def test_extensions_can_be_hashed_pickled_and_copied() -> None:
    found = Extensions({"tenant": "a"})
    assert hash(found) == hash(Extensions({"tenant": "a"}))
    assert pickle.loads(pickle.dumps(found)) == found
    assert copy.deepcopy(found) == found


def test_the_repr_shows_the_values() -> None:
    assert repr(Extensions({"a": 1})) == "Extensions({'a': 1})"
