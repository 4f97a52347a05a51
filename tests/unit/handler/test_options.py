"""The record of the options of `bus.on`."""

from __future__ import annotations

import dataclasses
import inspect

from celeriac import EventBus
from celeriac.handler import HandlerOptions


def test_the_record_has_the_options_of_on_with_the_same_defaults() -> None:
    """`bus.on` lists its options for users and type checkers; the record must not drift from it."""
    signature = inspect.signature(EventBus.on).parameters
    options = {
        name: parameter.default
        for name, parameter in signature.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    # Which kind of handler it is; not an option of one.
    assert options.pop("broadcast") is False
    assert options == {field.name: field.default for field in dataclasses.fields(HandlerOptions)}
