"""What scripts touch, as the server itself reports it: every key must have been declared.

MONITOR shows a call of a script, and then each command that the script calls. Dragonfly, kvrocks
and ElastiCache Serverless refuse an undeclared key; Redis does not, but returns which there were.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

import redis

_LINE = re.compile(rb'\+\d+\.\d+ \[\d+ (lua|\S+)\] "([^"\\]*)"')
_WORD = re.compile(rb'"((?:[^"\\]|\\.)*)"')
_ESCAPE = re.compile(rb"\\(x[0-9a-f]{2}|.)", re.DOTALL)
_ESCAPED = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b"}
SCRIPTS = {b"eval", b"evalsha", b"eval_ro", b"evalsha_ro"}


class ScriptWatch:
    """The commands of one server from `watched` on. `undeclared`: (command, key) of each access to
    a key that was not declared; `seen`: how many keys scripts touched."""

    def __init__(self, client: Any) -> None:
        self.undeclared: set[tuple[bytes, bytes]] = set()
        self.seen = 0
        self._client = client
        self._declared: frozenset[bytes] = frozenset()
        self._places: dict[bytes, tuple[int, int, int] | None] = {}

    def note(self, line: bytes) -> None:
        found = _LINE.match(line)
        if not found:
            return
        name = found[2].lower()
        if found[1] == b"lua":
            for key in self._keys_of(name, line):
                self.seen += 1
                if key not in self._declared:
                    self.undeclared.add((name, key))
        elif name in SCRIPTS:
            words = _words(line)
            _, _, count = islice(words, 3)
            self._declared = frozenset(islice(words, int(count)))

    def _keys_of(self, name: bytes, line: bytes) -> list[bytes]:
        if name in (b"xinfo", b"xgroup"):
            return list(islice(_words(line), 2, 3))
        places = self._place_of(name)
        if places is None:
            words = list(_words(line))
            found: Any = self._client.execute_command("COMMAND GETKEYS", *words)
            return list(found)
        first, last, step = places
        if first == 0:
            return []
        return list(islice(_words(line), first, None if last < 0 else last + 1, step))

    def _place_of(self, name: bytes) -> tuple[int, int, int] | None:
        """Return the places of the command's keys; None if only the server can find them."""
        if name not in self._places:
            [[_, _, flags, first, last, step, *_]] = self._client.execute_command(
                "COMMAND INFO", name
            )
            movable = b"movablekeys" in {bytes(flag) for flag in flags}
            self._places[name] = None if movable else (int(first), int(last), int(step))
        return self._places[name]


@contextmanager
def watched(url: str) -> Iterator[ScriptWatch]:
    """Watch the server while the block runs. It buffers what it reports, so nothing is missed."""
    parts = urlsplit(url)
    client = redis.Redis.from_url(url, protocol=2)
    client.set_response_callback("COMMAND INFO", _as_it_is)
    client.set_response_callback("COMMAND GETKEYS", _as_it_is)
    watch, end = ScriptWatch(client), f"end of {id(client)}"
    with client, socket.create_connection((parts.hostname, parts.port or 6379)) as connection:
        connection.sendall(b"MONITOR\r\n")
        lines = connection.makefile("rb")
        assert lines.readline() == b"+OK\r\n"
        yield watch
        client.echo(end)
        for line in lines:
            if end.encode() in line:
                break
            watch.note(line)


def _as_it_is(answer: Any, **_: Any) -> Any:
    return answer


def _words(line: bytes) -> Iterator[bytes]:
    for found in _WORD.finditer(line):
        word = found[1]
        yield _ESCAPE.sub(_unescaped, word) if b"\\" in word else word


def _unescaped(found: re.Match[bytes]) -> bytes:
    code = found[1]
    if len(code) == 3:
        return bytes.fromhex(code[1:].decode())
    return _ESCAPED.get(code, code)


def faults(watch: ScriptWatch) -> Sequence[str]:
    return [f"{command.decode()} {key!r}" for command, key in sorted(watch.undeclared)]
