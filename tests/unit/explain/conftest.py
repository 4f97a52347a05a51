from __future__ import annotations

import pytest

from celeriac.settings import Settings
from celeriac.store.factory import Backend
from tests.unit.tracking.backend import backend as backend
from tests.unit.tracking.shop import Shop


@pytest.fixture
def shop(backend: Backend) -> Shop:
    return Shop(backend, Settings.load({}, source="shop"))
