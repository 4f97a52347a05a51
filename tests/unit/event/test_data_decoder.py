from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import pytest

from celeriac.errors import SubscriptionError
from celeriac.event import check_annotation
from celeriac.event.data_decoder import decoder_for


@dataclass
class One:
    a: int


@dataclass
class Two:
    a: int


def test_a_reader_is_made_once() -> None:
    assert decoder_for(list[int]) is decoder_for(list[int])


def test_an_annotation_without_a_hash_can_be_read_too() -> None:
    annotation = Annotated[int, msgspec.Meta(ge=0, extra={"unit": "cent"}), []]
    assert decoder_for(annotation).from_json(b"5") == 5


@pytest.mark.parametrize("annotation", [threading.Thread, One | Two, "One", 5])
def test_a_type_that_data_cannot_have_is_refused_with_the_remedy(annotation: Any) -> None:
    with pytest.raises(SubscriptionError, match="Declare a pydantic model"):
        check_annotation(annotation)


@pytest.mark.parametrize("annotation", [Any, None, int, One, list[One], One | None])
def test_a_type_that_data_can_have_passes(annotation: Any) -> None:
    check_annotation(annotation)
