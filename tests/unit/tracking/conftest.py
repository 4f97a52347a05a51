from __future__ import annotations

import pytest

from celeriac.settings import Settings
from celeriac.store.factory import Backend
from celeriac.tracking import Matrix
from tests.unit.tracking.backend import backend as backend
from tests.unit.tracking.shop import Shop


@pytest.fixture
def shop(backend: Backend) -> Shop:
    return Shop(backend, Settings.load({}))


@pytest.fixture
def matrix(backend: Backend) -> Matrix:
    return Matrix(backend)
