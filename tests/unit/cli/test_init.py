"""celeriac init"""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from celeriac.cli.root import main
from celeriac.scaffold import Form
from celeriac.scaffold.name import MAX_LENGTH

NOWHERE = "redis://127.0.0.1:1/0"


def init(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["--redis-url", NOWHERE, "init", *arguments])


@pytest.fixture(autouse=True)
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("form", Form)
def test_the_next_steps_fit_in_80_columns(form: Form) -> None:
    """The command needs no Redis."""
    result = init("a" * MAX_LENGTH, "--form", form.value)
    assert (result.exit_code, result.stderr) == (0, "")
    assert [line for line in result.stdout.splitlines() if len(line) > 80] == []


def test_a_service_is_plain_and_in_a_folder_of_its_name(tmp_path: Path) -> None:
    result = init("order-intake")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert result.stdout.startswith(f"Created {len(files)} files in order-intake.\n")
    assert (tmp_path / "order-intake/order_intake/celery.py").is_file()
    assert not (tmp_path / "order-intake/manage.py").exists()


def test_the_first_step_leads_to_the_directory(tmp_path: Path) -> None:
    result = init("orders", "--directory", "my services/new")
    assert "\n  cd 'my services/new/orders'\n" in result.stdout
    assert (tmp_path / "my services/new/orders/README.md").is_file()


def test_existing_files_are_not_overwritten() -> None:
    init("orders")
    again = init("orders", "--form", "django")
    assert again.exit_code == 2 and again.stdout == ""
    assert "files already exist in orders: .dockerignore, .github/" in again.stderr


@pytest.mark.parametrize("name", ["Orders", "../orders", "json", ""])
def test_an_invalid_name_is_rejected_before_anything_is_written(name: str, tmp_path: Path) -> None:
    result = init(name)
    assert result.exit_code == 2 and "the name of the service" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_cannot_be_written_is_reported_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "orders").write_text("")
    result = init("orders")
    assert result.exit_code == 1
    assert result.stderr == "Error: cannot write orders: File exists.\n"


def test_the_plugin_of_celery_does_not_have_it() -> None:
    """Its app has a service already."""
    from celeriac.cli.plugin import bus

    assert "init" not in CliRunner().invoke(bus, ["--help"]).stdout.split()
