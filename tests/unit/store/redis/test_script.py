"""How a script is put together from its files, and how it is called."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest

from celeriac.store.redis.script import Script, _with_includes

LUA = files("celeriac.store.redis") / "lua"
NAMES = sorted(file.name for file in LUA.iterdir() if not file.name.startswith("_"))


@pytest.mark.parametrize("name", NAMES)
def test_no_key_is_bound_twice_and_no_directive_remains(name: str) -> None:
    script = Script(name)
    assert "--! " not in script.source
    bound = [
        word
        for names in re.findall(r"^local ([\w, ]+) = KEYS\[", script.source, re.M)
        for word in names.split(", ")
    ]
    assert len(bound) == len(set(bound)) >= len(script.names)


def test_each_file_is_included_once_where_it_is_first_named(tmp_path: Path) -> None:
    for name, lines in {
        "script.lua": ("--! include b.lua", "--! include c.lua", "script"),
        "b.lua": ("--! include c.lua", "b"),
        "c.lua": ("c",),
    }.items():
        (tmp_path / name).write_text("\n".join(lines), "utf-8")
    assert ["c", "b", "script"] == list(_with_includes(tmp_path, "script.lua", set()))
