"""File permissions of a spool."""

from __future__ import annotations

import os
from pathlib import Path

from celeriac.event_log import EntryKind
from celeriac.spool.file import SpoolFile


def test_only_the_owner_may_read_the_files_of_a_spool(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        spool = SpoolFile(str(tmp_path / "spool"), 1_000_000)
        spool.put([("order", b"secret", EntryKind.GIVEN, 0)])
        with spool.draining():
            rights = {one.name: one.stat().st_mode & 0o777 for one in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert {"spool", "spool.flag", "spool.lock", "spool-wal"} <= rights.keys()
    assert set(rights.values()) == {0o600}
