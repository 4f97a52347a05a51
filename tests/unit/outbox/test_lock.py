"""The leader lock: one process holds it, and it ends with the process."""

from __future__ import annotations

from pathlib import Path

from celeriac.outbox.lock import file_lock


def test_one_at_a_time_has_it(tmp_path: Path) -> None:
    database = str(tmp_path / "shop.sqlite")
    with file_lock(database) as first, file_lock(database) as second:
        assert (first, second) == (True, False)
    with file_lock(database) as again:
        assert again


def test_a_link_to_the_database_is_the_same_database(tmp_path: Path) -> None:
    (tmp_path / "shop.sqlite").touch()
    (tmp_path / "link.sqlite").symlink_to(tmp_path / "shop.sqlite")
    with (
        file_lock(str(tmp_path / "shop.sqlite")),
        file_lock(str(tmp_path / "link.sqlite")) as second,
    ):
        assert not second


def test_a_database_in_memory_needs_none() -> None:
    with file_lock("") as first, file_lock("") as second:
        assert first
        assert second
