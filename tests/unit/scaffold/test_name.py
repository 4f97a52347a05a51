"""Names of new services."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from celeriac import EventBus
from celeriac.errors import ConfigurationError
from celeriac.scaffold.name import MAX_LENGTH, ServiceName

LONGEST = "a" * MAX_LENGTH


@pytest.mark.parametrize(
    ("text", "package"),
    [("orders", "orders"), ("order-intake", "order_intake"), ("v2_api", "v2_api"), (LONGEST,) * 2],
)
def test_a_name_is_that_of_a_service_and_of_a_package(
    text: str, package: str, tmp_path: Path
) -> None:
    name = ServiceName.parse(text, tmp_path)
    assert (name.service, name.package) == (text, package)
    assert EventBus(service=name.service).settings.service == text


@pytest.mark.parametrize(
    ("text", "proposed"),
    [
        ("", "order-intake"),
        ("Orders", "orders"),
        ("OrderIntake", "order-intake"),
        ("order intake", "order-intake"),
        ("order.intake", "order-intake"),
        ("../orders", "orders"),
        ("/tmp/orders", "tmp-orders"),
        ("2orders", "orders"),
        ("-orders", "orders"),
        ("orders-", "orders"),
        ("order--intake", "order-intake"),
        ("bestellungen-für", "bestellungen-f-r"),
        ("注文", "order-intake"),
        ("a\nb", "a-b"),
        ("a" * (MAX_LENGTH + 1), LONGEST),
    ],
)
def test_an_invalid_name_is_rejected_with_a_valid_one(
    text: str, proposed: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=f"such as {proposed}\\.$"):
        ServiceName.parse(text, tmp_path)
    ServiceName.parse(proposed, tmp_path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("class", "it is reserved"),
        ("tests", "it is reserved"),
        ("conftest", "it is reserved"),
        ("manage", "it is reserved"),
        ("email", "email is a module of Python"),
        ("celery", "celery is an installed package"),
        ("celeriac", "celeriac is an installed package"),
    ],
)
def test_the_name_of_another_package_is_rejected(text: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"{reason}.* such as {text}-service"):
        ServiceName.parse(text, tmp_path)


def test_a_package_of_the_same_project_is_no_conflict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An editable installation of the project itself."""
    package = tmp_path / "project" / "stock"
    package.mkdir(parents=True)
    monkeypatch.setattr(sys, "path", [str(package.parent), *sys.path])
    ServiceName.parse("stock", package.parent)  # a namespace package
    (package / "__init__.py").write_text("raise AssertionError('imported')")
    ServiceName.parse("stock", package.parent)
    with pytest.raises(ConfigurationError, match="stock is an installed package"):
        ServiceName.parse("stock", tmp_path / "other")
