"""Finds what scripts do to keys that they were not given, for test_script_keys.py.

A name counts as a key where every value that it is given anywhere in the script is one. So scopes
need no care: a name of both a key and something else is reported.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest

from tests.unit.store.redis.lua_syntax import Tree, parse, walk

FIRST, ALL, SUBCOMMAND, NONE = "first", "all", "subcommand", "none"
# Where each command that the scripts may call has its keys.
_BY_PLACE = {
    NONE: "TIME",
    ALL: "DEL UNLINK EXISTS MGET RENAME",
    SUBCOMMAND: "XINFO XGROUP",
    "STREAMS": "XREADGROUP",
    FIRST: """
    TYPE GET SET EXPIRE PEXPIRE PEXPIREAT INCRBY HGET HSET HSETNX HDEL HLEN HEXISTS HGETALL
    HVALS HKEYS HMGET HINCRBY HSCAN SADD SREM SCARD SISMEMBER SMEMBERS ZADD ZREM ZCARD
    ZCOUNT ZRANGE ZRANGEBYLEX ZRANGEBYSCORE ZREVRANGE ZREMRANGEBYLEX ZREMRANGEBYRANK
    ZREMRANGEBYSCORE ZLEXCOUNT ZPOPMIN ZINCRBY ZSCORE ZMSCORE LINDEX LPOP LREM LPUSH RPUSH
    LLEN LRANGE XADD XACK XCLAIM XDEL XLEN XPENDING XRANGE XREVRANGE XTRIM
    """,
}
COMMANDS = {name: place for place, names in _BY_PLACE.items() for name in names.split()}
FORBIDDEN = {"loadstring", "load", "dofile", "getfenv", "setfenv", "rawset", "_G"}
OPAQUE: Tree = ("constant", 0, "unknown")
NIL: Tree = ("constant", 0, "nil")


def undeclared(source: str) -> list[tuple[int, str]]:
    """Return each access to what need not be a declared key: its line, and what is wrong."""
    return sorted(set(_Script(parse(source)).faults()))


class _Script:
    def __init__(self, statements: list[Tree]) -> None:
        self.trees = list(walk(statements))
        self.calls: dict[str, list[list[Tree]]] = {}
        self.values: dict[str, list[Tree]] = {}
        self.appended: dict[str, list[Tree]] = {}
        self.shared: set[str] = set()
        self.named = dict(_named_functions(self.trees))
        self._note_calls()
        for tree in self.trees:
            self._note_values(tree)
            self._note_shared(tree)

    def _note_calls(self) -> None:
        called = [tree[2] for tree in self.trees if tree[0] == "call" and tree[2][0] == "name"]
        for tree in self.trees:
            if tree[0] == "call" and tree[2][0] == "name":
                self.calls.setdefault(tree[2][2], []).append(tree[3])
        at_call = {id(tree) for tree in called}
        targets = {id(target) for tree in self.trees if tree[0] == "assign" for target in tree[2]}
        # A function that is a value may be called from anywhere.
        self.passed = {
            tree[2]
            for tree in self.trees
            if tree[0] == "name" and id(tree) not in at_call | targets
        }

    def _note_values(self, tree: Tree) -> None:
        kind = tree[0]
        if kind == "local":
            self._bind(tree[2], tree[3])
        elif kind == "assign":
            names = [target[2] if target[0] == "name" else "" for target in tree[2]]
            self._bind(names, tree[3])
            for target, value in zip_longest(tree[2], tree[3], fillvalue=OPAQUE):
                if target[0] == "index" and target[2][0] == "name":
                    self._note_element(target[2][2], target[3], value)
        elif kind == "for":
            self._bind(tree[2], [OPAQUE])
        elif kind == "for in":
            self._bind_loop(tree[2], tree[3])
        elif kind == "function":
            name = self.named.get(id(tree))
            if name is None:
                self._bind(tree[2], [OPAQUE] * len(tree[2]))
            else:
                self._bind_parameters(name, tree[2])

    def _bind(self, names: list[str], values: list[Tree]) -> None:
        is_open = bool(values) and _is_many(values[-1])
        for name, value in zip_longest(names, values[: len(names)], fillvalue=None):
            missing = OPAQUE if is_open else NIL
            self.values.setdefault(str(name), []).append(missing if value is None else value)

    def _bind_loop(self, names: list[str], values: list[Tree]) -> None:
        value = values[0]
        is_list = value[0] == "call" and value[2][0] == "name" and value[2][2] == "ipairs"
        element = ("element", value[1], value[3][0]) if is_list else OPAQUE
        self._bind(names, [OPAQUE, element, *[OPAQUE] * len(names)])

    def _bind_parameters(self, function: str, names: list[str]) -> None:
        calls = self.calls.get(function, [])
        for at, name in enumerate(names):
            given = [call[at] if at < len(call) else OPAQUE for call in calls]
            if function in self.passed:
                given.append(OPAQUE)
            self.values.setdefault(name, []).extend(given)

    def _note_element(self, table: str, at: Tree, value: Tree) -> None:
        self.appended.setdefault(table, []).append(value)
        # `#t + 1` is parsed as `#(t + 1)`.
        is_end = at[0] == "unary" and at[2] == "#" and at[3][0] == "binary" and at[3][2] == "+"
        if not is_end or at[3][3][0::2] != ("name", table):
            self.shared.add(table)

    def _note_shared(self, tree: Tree) -> None:
        """Tables that others may change: those with another name, or given to a function."""
        kind, values = tree[0], []
        reads = kind == "call" and tree[2][0] == "name" and tree[2][2] in ("unpack", "ipairs")
        if kind in ("call", "local", "assign") and not reads:
            values = tree[3]
        elif kind in ("return", "table"):
            values = [*tree[2], *(tree[3] if kind == "table" else ())]
        self.shared.update(value[2] for value in values if value[0] == "name")

    # -- what is a key

    def is_key(self, value: Tree, seen: frozenset[str] = frozenset()) -> bool:
        kind = value[0]
        if kind == "parentheses":
            return self.is_key(value[2], seen)
        if kind == "index":
            return bool(value[2][0] == "name" and value[2][2] == "KEYS")
        if kind == "element":
            return self._are_keys(value[2], seen)
        if kind != "name":
            return False
        name = value[2]
        if name in seen:
            return True
        values = [one for one in self.values.get(name, ()) if one[0::2] != NIL[0::2]]
        return bool(values) and all(self.is_key(one, seen | {name}) for one in values)

    def _are_keys(self, value: Tree, seen: frozenset[str]) -> bool:
        if value[0] == "table":
            return not value[3] and all(self.is_key(item, seen) for item in value[2])
        if value[0] != "name":
            return False
        name = value[2]
        if name == "KEYS" or name in seen:
            return True
        if name in self.shared:
            return False
        tables, seen = self.values.get(name, []), seen | {name}
        elements = self.appended.get(name, [])
        return (
            bool(tables)
            and all(self._are_keys(table, seen) for table in tables)
            and all(self.is_key(element, seen) for element in elements)
        )

    # -- faults

    def faults(self) -> Iterator[tuple[int, str]]:
        called = {id(tree[2]) for tree in self.trees if tree[0] == "call"}
        bases = {id(tree[2]) for tree in self.trees if tree[0] == "index"}
        for tree in self.trees:
            kind, line = tree[0], tree[1]
            what: object = tree[-1] if kind == "name" else None
            if kind == "name" and what in FORBIDDEN:
                yield line, f"{what} hides what a script does"
            elif kind == "name" and what == "redis" and id(tree) not in bases:
                yield line, "redis has another name"
            elif _is_redis(tree, "call", "pcall") and id(tree) not in called:
                yield line, "redis.call has another name"
            elif kind == "index" and tree[2][0] == "name" and tree[2][2] == "redis":
                if tree[3][0] != "string":
                    yield line, "redis.call has another name"
            elif kind == "call" and _is_redis(tree[2], "call", "pcall"):
                yield from ((line, fault) for fault in self._faults_of(tree[3]))
        for name in ("KEYS", "redis", "unpack", "ipairs"):
            if name in self.values or name in self.appended:
                yield 1, f"{name} is changed"

    def _faults_of(self, given: list[Tree]) -> Iterator[str]:
        given = self._unpacked(given)
        if not given or given[0][0] != "string":
            yield "the command is no text"
            return
        command, rest = given[0][2].upper(), given[1:]
        where = COMMANDS.get(command)
        if where is None:
            yield f"{command} is not in COMMANDS: say there where it has its keys"
            return
        if where == NONE:
            return
        if where == SUBCOMMAND:
            rest = rest[1:]
        if where == "STREAMS":
            words = [word[2] if word[0] == "string" else "" for word in rest]
            rest = rest[words.index(where) + 1 :] if where in words else []
        if not rest:
            yield f"{command} names no key"
        for value in rest if where == ALL else rest[:1]:
            if not (self.is_key(value) or _unpacks_keys(value)):
                yield f"{command} is called with {_text(value)}, which need not be one of KEYS"

    def _unpacked(self, given: list[Tree]) -> list[Tree]:
        """What `unpack(t)` gives, where t begins as a table of the script and only grows."""
        if len(given) != 1 or not _is_unpack(given[0]):
            return given
        table = given[0][3][0]
        values = self.values.get(table[2], []) if table[0] == "name" else []
        if len(values) != 1 or values[0][0] != "table" or table[2] in self.shared:
            return []
        return list(values[0][2])


def _named_functions(trees: list[Tree]) -> Iterator[tuple[int, str]]:
    for tree in trees:
        if tree[0] in ("local", "assign"):
            for target, value in zip(tree[2], tree[3], strict=False):
                name = target if tree[0] == "local" else target[2]
                if value[0] == "function" and isinstance(name, str):
                    yield id(value), name


def _is_many(value: Tree) -> bool:
    """Whether an expression may have several values."""
    return value[0] in ("call", "method") or value[0::2] == ("constant", "...")


def _is_redis(tree: Tree, *names: str) -> bool:
    return (
        tree[0] == "index"
        and tree[2][0] == "name"
        and tree[2][2] == "redis"
        and tree[3][0] == "string"
        and tree[3][2] in names
    )


def _is_unpack(tree: Tree) -> bool:
    return bool(tree[0] == "call" and tree[2][0] == "name" and tree[2][2] == "unpack")


def _unpacks_keys(tree: Tree) -> bool:
    return _is_unpack(tree) and tree[3][0][0] == "name" and tree[3][0][2] == "KEYS"


def _text(tree: Tree) -> str:
    return {"name": lambda: str(tree[2]), "string": lambda: repr(tree[2])}.get(
        tree[0], lambda: f"a {tree[0]}"
    )()
