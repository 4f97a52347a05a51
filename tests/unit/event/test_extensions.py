from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from celeriac.event import Extensions


def test_extensions_are_a_mapping() -> None:
    found = Extensions({"region": "a", "retry": 2})
    assert dict(found) == {"region": "a", "retry": 2}
    assert found == {"region": "a", "retry": 2}
    assert len(found) == 2


def test_extensions_cannot_be_changed() -> None:
    source: dict[str, Any] = {"region": "a"}
    found: Any = Extensions(source)
    source["region"] = "b"
    assert found["region"] == "a"
    with pytest.raises(TypeError):
        found["region"] = "b"


def test_extensions_can_be_hashed_pickled_and_copied() -> None:
    found = Extensions({"region": "a"})
    assert hash(found) == hash(Extensions({"region": "a"}))
    assert pickle.loads(pickle.dumps(found)) == found
    assert copy.deepcopy(found) == found


def test_the_repr_shows_the_values() -> None:
    assert repr(Extensions({"a": 1})) == "Extensions({'a': 1})"
