"""The file of a spool: order, size limit, several processes, forks."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from celeriac.errors import ConfigurationError, LogFull
from celeriac.event_log import EntryKind
from celeriac.spool import Spooled, SpoolFile

MB = 1 << 20
GIVEN = EntryKind.GIVEN


@pytest.fixture
def file(tmp_path: Path) -> SpoolFile:
    return SpoolFile(str(tmp_path / "spool.db"), MB)


def put(file: SpoolFile, *names: str) -> None:
    file.put([("order", name.encode(), GIVEN, 0) for name in names])


def names(file: SpoolFile) -> list[str]:
    return [one.body.decode() for one in file.oldest(100)]


def test_events_come_back_in_their_order(file: SpoolFile) -> None:
    put(file, "a", "b")
    put(file, "c")
    assert names(file) == ["a", "b", "c"]
    assert file.count() == 3 and file.has_events()


def test_removing_takes_only_the_given_events(file: SpoolFile) -> None:
    put(file, "a", "b", "c")
    file.remove(file.oldest(2))
    assert names(file) == ["c"]
    file.remove(file.oldest(1))
    assert not file.has_events() and file.count() == 0
    put(file, "d")
    assert names(file) == ["d"]


def test_the_time_and_the_kind_are_kept(file: SpoolFile) -> None:
    file.put([("order", b"a", EntryKind.MADE, 99)], 1234)
    [one] = file.oldest(1)
    assert one == Spooled(1, "order", b"a", 1234, EntryKind.MADE, 99)


def test_another_process_sees_what_was_put(file: SpoolFile) -> None:
    """A separate connection simulates another process."""
    other = SpoolFile(file.path, MB)
    put(file, "a")
    put(other, "b")
    assert names(file) == names(other) == ["a", "b"]


def test_it_is_bounded_raises_and_accepts_more_when_there_is_room(tmp_path: Path) -> None:
    file = SpoolFile(str(tmp_path / "spool.db"), 200_000)
    with pytest.raises(LogFull, match="CELERIAC_SPOOL_MAX_BYTES"):
        for n in range(1000):
            file.put([("order", b"%04d" % n + bytes(1000), GIVEN, 0)])
    kept = file.count()
    assert 100 < kept < 200
    assert os.path.getsize(file.path) <= 200_000
    file.remove(file.oldest(50))
    put(file, "more")
    assert file.count() == kept - 50 + 1


def test_what_does_not_fit_whole_is_not_put_in_part(tmp_path: Path) -> None:
    file = SpoolFile(str(tmp_path / "spool.db"), 200_000)
    with pytest.raises(LogFull):
        file.put([("order", bytes(1000), GIVEN, 0)] * 1000)
    assert file.count() == 0


def test_one_drains_at_a_time(file: SpoolFile) -> None:
    other = SpoolFile(file.path, MB)
    with file.draining() as first, other.draining() as second:
        assert first and not second
    with other.draining() as then:
        assert then


def test_a_child_of_a_fork_opens_its_own(file: SpoolFile) -> None:
    put(file, "a")
    child = os.fork()
    if child == 0:
        try:
            file.reset_after_fork()
            put(file, "b")
            os._exit(0)
        except BaseException:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    put(file, "c")
    assert names(file) == ["a", "b", "c"]


@pytest.mark.parametrize("path", ["/nowhere/spool.db", "."])
def test_an_impossible_path_is_an_error_with_its_setting(path: str) -> None:
    with pytest.raises(ConfigurationError, match="CELERIAC_SPOOL"):
        SpoolFile(path, MB).has_events()


def test_a_file_that_is_no_spool_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    path.write_bytes(b"this is no database, but it is long enough to be looked at " * 20)
    with pytest.raises((ConfigurationError, sqlite3.DatabaseError)):
        SpoolFile(str(path), MB).has_events()


def test_a_flag_that_a_crash_left_up_goes_down_again(file: SpoolFile) -> None:
    put(file, "a")
    file.remove(file.oldest(1))
    assert Path(f"{file.path}.flag").read_bytes() == b"\x01"
    assert not file.has_events()
    assert Path(f"{file.path}.flag").read_bytes() == b"\x00"


def test_events_are_found_also_where_the_flag_was_lost(file: SpoolFile) -> None:
    """As after a power failure."""
    put(file, "a")
    Path(f"{file.path}.flag").write_bytes(b"\x00")
    assert SpoolFile(file.path, MB).has_events() or SpoolFile(file.path, MB).count() == 1
    again = SpoolFile(file.path, MB)
    assert again.count() == 1
    assert again.has_events()


def test_a_refused_put_leaves_no_wrong_word(tmp_path: Path) -> None:
    file = SpoolFile(str(tmp_path / "spool.db"), 200_000)
    with pytest.raises(LogFull):
        file.put([("order", bytes(1000), GIVEN, 0)] * 1000)
    assert not file.has_events()
