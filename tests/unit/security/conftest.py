from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from celeriac.security.generate import generate

Keys = Callable[..., tuple[str, str]]


@pytest.fixture
def keys() -> Keys:
    """Return a new key as (private, public) settings."""

    def make(id: str, **options: Any) -> tuple[str, str]:
        private, public = generate(id, **options)
        return json.dumps(private), json.dumps(public)

    return make


def together(*keys: str) -> str:
    return json.dumps({"keys": [json.loads(key) for key in keys]})
