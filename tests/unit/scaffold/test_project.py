"""Files are written once and never overwritten."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from celeriac.errors import ConfigurationError
from celeriac.scaffold import Form, ServiceName, write_project

NAME = ServiceName("orders")


def contents(directory: Path) -> dict[str, str]:
    """Return the text of each file below the directory."""
    files = [path for path in directory.rglob("*") if path.is_file()]
    return {str(path.relative_to(directory)): path.read_text() for path in files}


def test_missing_folders_are_created_and_the_paths_returned(tmp_path: Path) -> None:
    target = tmp_path / "services" / "orders"
    paths = write_project(Form.PLAIN, NAME, target)
    assert sorted(map(str, paths)) == sorted(contents(target))


def test_other_files_of_the_folder_stay(tmp_path: Path) -> None:
    (tmp_path / "LICENSE").write_text("mine")
    write_project(Form.PLAIN, NAME, tmp_path)
    assert (tmp_path / "LICENSE").read_text() == "mine"


def test_existing_files_are_listed_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    (tmp_path / "orders").mkdir()
    (tmp_path / "orders" / "celery.py").symlink_to("nowhere")
    with pytest.raises(ConfigurationError, match=r"README\.md, orders/celery\.py\. No file"):
        write_project(Form.PLAIN, NAME, tmp_path)
    assert contents(tmp_path) == {"README.md": "mine"}


def test_a_second_run_lists_every_file(tmp_path: Path) -> None:
    paths = write_project(Form.DJANGO, NAME, tmp_path)
    before = contents(tmp_path)
    with pytest.raises(ConfigurationError) as raised:
        write_project(Form.DJANGO, NAME, tmp_path)
    assert [path for path in paths if str(path) not in str(raised.value)] == []
    assert contents(tmp_path) == before


def test_a_file_in_place_of_a_folder_is_reported_and_stays(tmp_path: Path) -> None:
    (tmp_path / "tests").write_text("mine")
    with pytest.raises(OSError):
        write_project(Form.PLAIN, NAME, tmp_path)
    assert contents(tmp_path) == {"tests": "mine"}


def test_a_full_disk_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Path.open

    def fail(self: Path, *arguments: Any, **options: Any) -> Any:
        if self.name == "handlers.py":
            raise OSError(errno.ENOSPC, "No space left on device", str(self))
        return opened(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(OSError, match="No space left"):
        write_project(Form.PLAIN, NAME, tmp_path)
    assert contents(tmp_path) == {}
