"""SQLAlchemy is optional: modules that a service without it imports do not import it."""

from __future__ import annotations

import pytest

from tests.unit.without_sqlalchemy import import_again


@pytest.mark.parametrize(
    "module",
    [
        "celeriac.process.sql_store",
        "celeriac.process.table",
    ],
)
def test_the_module_is_imported_without_it(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import_again(module, monkeypatch)
