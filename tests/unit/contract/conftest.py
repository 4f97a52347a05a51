from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.declared_contracts import no_contracts


@pytest.fixture(autouse=True)
def own_contracts() -> Iterator[None]:
    with no_contracts():
        yield
