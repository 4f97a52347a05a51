"""Every script is given every key that it touches; none is put together within it."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from celeriac.store.redis.keys import Keys
from celeriac.store.redis.script import Script
from celeriac.store.redis.script_keys import NAMES, script_keys
from tests.unit.store.redis.lua_keys import undeclared
from tests.unit.store.redis.lua_syntax import parse

SCRIPTS = [
    path.name
    for path in sorted(
        (files("celeriac.store.redis") / "lua").iterdir(), key=lambda path: path.name
    )
    if path.name.endswith(".lua") and not path.name.startswith("_")
]


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_touches_no_key_that_it_is_not_given(name: str) -> None:
    assert [] == undeclared(Script(name).source)


def test_all_scripts_are_looked_at() -> None:
    assert {"fetch.lua", "append_once.lua", "record_calls.lua", "update.lua"} < {*SCRIPTS}


@pytest.mark.parametrize(
    "source",
    [
        "local base = KEYS[1]; redis.call('GET', base .. 'x')",
        "local base = KEYS[1]; local stream = base .. 'events'; redis.call('XLEN', stream)",
        "local a, b = KEYS[1] .. 'a', KEYS[2]; redis.call('GET', a)",
        "redis.call('GET', ARGV[1])",
        "redis.call('GET', 'celeriac:domains')",
        "local key = string.format('%s:x', KEYS[1]); redis.call('GET', key)",
        "local key = redis.call('HGET', KEYS[1], 'x'); redis.call('GET', key)",
        "local found = redis.call('HMGET', KEYS[1], 'x', 'y'); redis.call('GET', found[1])",
        "local a, b = unpack(redis.call('HVALS', KEYS[1])); redis.call('GET', b)",
        "local a, b = ...; redis.call('GET', b)",
        "for _, kind in ipairs({'a', 'b'}) do redis.call('DEL', KEYS[1] .. kind) end",
        "for _, key in ipairs({KEYS[1], KEYS[1] .. 'x'}) do redis.call('DEL', key) end",
        "for key in string.gmatch(ARGV[1], '%S+') do redis.call('DEL', key) end",
        "for key = 1, 3 do redis.call('DEL', key) end",
        "local doomed = {KEYS[1]}; doomed[#doomed + 1] = KEYS[1] .. 'x'\n"
        "redis.call('DEL', unpack(doomed))",
        "local keys = {KEYS[1]}; keys[#keys + 1] = ARGV[1]\n"
        "for _, key in ipairs(keys) do redis.call('DEL', key) end",
        "local keys = {KEYS[1]}; table.insert(keys, ARGV[1])\n"
        "for _, key in ipairs(keys) do redis.call('DEL', key) end",
        "redis.call('DEL', KEYS[1], KEYS[1] .. 'x')",
        "redis.call('RENAME', KEYS[1], KEYS[1] .. ':older')",
        "redis.pcall('GET', KEYS[1] .. 'x')",
        "redis['call']('GET', KEYS[1] .. 'x')",
        "redis.call('XINFO', 'GROUPS', ARGV[1])",
        "redis.call('XREADGROUP', 'GROUP', 'g', 'c', 'STREAMS', KEYS[1] .. 'x', '>')",
        "redis.call('XREADGROUP', unpack(ARGV))",
        "redis.call(ARGV[1], KEYS[1])",
        "redis.call('SORT', KEYS[1], 'GET', 'x:*')",
        "local command = {'GET'}; command[#command + 1] = ARGV[1]; redis.call(unpack(command))",
        "local command = {'GET', KEYS[1]}; command[2] = ARGV[1]; redis.call(unpack(command))",
        "local command = {'GET', KEYS[1]}; local other = command; other[2] = ARGV[1]\n"
        "redis.call(unpack(command))",
        "local call = redis.call; call('GET', KEYS[1] .. 'x')",
        "local other = redis; other.call('GET', KEYS[1] .. 'x')",
        "redis[ARGV[1]]('GET', ARGV[2])",
        "pcall(redis.call, 'GET', KEYS[1] .. 'x')",
        "loadstring(ARGV[1])()",
        "KEYS[1] = ARGV[1]; redis.call('GET', KEYS[1])",
        "local KEYS = ARGV; redis.call('GET', KEYS[1])",
        "local function get(key) return redis.call('GET', key) end; get(KEYS[1]); get(ARGV[1])",
        "local function get(key) return redis.call('GET', key) end; pcall(get, ARGV[1])",
        "local function get(a, key) return redis.call('GET', key) end; get(unpack(ARGV))",
        "local t = {get = function(key) return redis.call('GET', key) end}; t.get(ARGV[1])",
        "local key = KEYS[1]; local t = {get = function(key) return redis.call('GET', key) end}",
        "local function key() return KEYS[1] .. 'x' end; redis.call('GET', key())",
        "local key = KEYS[1]; if ARGV[1] then key = key .. 'x' end; redis.call('GET', key)",
        "redis.call('GET', key)",
        "local key; redis.call('GET', key)",
        "redis.call('GET')",
    ],
)
def test_a_key_that_is_not_given_is_found(source: str) -> None:
    assert undeclared(source)


@pytest.mark.parametrize(
    "source",
    [
        "redis.call('GET', KEYS[1])",
        "local a, b = KEYS[1], KEYS[2]; redis.call('RENAME', a, b)",
        "for i = 1, #ARGV do redis.call('HLEN', KEYS[2 * i + 1]) end",
        "for _, key in ipairs({KEYS[1], KEYS[2]}) do redis.call('DEL', key) end",
        "for _, key in ipairs(KEYS) do redis.call('DEL', key) end",
        "redis.call('UNLINK', unpack(KEYS, 3, 9))",
        "local function get(key) return redis.call('GET', key) end; get(KEYS[1]); get(KEYS[2])",
        "local key; if ARGV[1] == 'x' then key = KEYS[1] else key = KEYS[2] end\n"
        "redis.call('GET', key)",
        "local stream = KEYS[1]; local command = {'XCLAIM', stream, 'g'}\n"
        "command[#command + 1] = ARGV[1]; redis.call(unpack(command))",
        "redis.call('XINFO', 'GROUPS', KEYS[1]); redis.call('TIME')",
        "redis.call('XREADGROUP', 'GROUP', 'g', 'c', 'COUNT', 1, 'STREAMS', KEYS[1], '>')",
        "return redis.error_reply('CLOCK')",
    ],
)
def test_keys_that_are_given_are_none_of_its_business(source: str) -> None:
    assert [] == undeclared(source)


def test_the_line_is_named() -> None:
    source = "-- one\n--[[ two\nthree ]]\nlocal x = 'a\\'b' -- '\nredis.call('GET', x)"
    assert [(5, "GET is called with x, which need not be one of KEYS")] == undeclared(source)


@pytest.mark.parametrize("source", ["local = 1", "if x then", "x = ?", "1 + 1", "f(1", "end"])
def test_what_is_no_lua_is_refused(source: str) -> None:
    with pytest.raises(SyntaxError):
        parse(source)


def test_a_script_binds_the_keys_that_it_declares_in_the_order_of_its_calls() -> None:
    script = Script("complete.lua")
    named = script.keys(Keys("shop"), "order", "billing.charge", 120_000)
    assert len(named) == len(script.names) == len(set(named))
    where = dict(zip(script.names, named, strict=True))
    assert where["stream"] == "shop:{order}:events"
    assert where["older_rows"] == "shop:{order}:matrix:billing.charge:older"
    assert named[-3:] == tuple(f"shop:{{order}}:counters:billing.charge:{n}" for n in (1, 2, 3))
    for number, name in enumerate(script.names, 1):
        assert f"KEYS[{number}]" in script.source
        bindings = [line for line in script.source.splitlines() if f"KEYS[{number}]" in line]
        assert all(name in line for line in bindings)
        assert len(bindings) == 1


@pytest.mark.parametrize("name", SCRIPTS)
def test_each_key_that_a_script_declares_is_touched_and_would_be_missed(name: str) -> None:
    if name == "forget.lua":
        return  # it removes all that it is given
    script = Script(name)
    for number, key in enumerate(script.names, 1):
        derived = re.sub(rf"\bKEYS\[{number}\]", "(KEYS[1] .. 'x')", script.source)
        assert undeclared(derived), f"{name} declares {key}, and touches it nowhere"


def test_a_name_that_means_no_key_is_refused() -> None:
    with pytest.raises(KeyError):
        script_keys(Keys(), ("streams",), "order")


def test_every_name_is_a_key_that_some_script_declares() -> None:
    declared = {name for script in SCRIPTS for name in Script(script).names}
    assert declared == NAMES
