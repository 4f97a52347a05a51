"""Lua scripts that lie beside the code, loaded into the server once and called by digest."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from redis.exceptions import NoScriptError

from celeriac.store.redis.connection import Client
from celeriac.store.redis.keys import Keys
from celeriac.store.redis.script_keys import OF_MINUTE, minute_keys, script_keys

INCLUDE, DECLARE = "--! include ", "--! keys "
Key = str | bytes


class Script:
    """One script.

    The first line `--! include NAME` is replaced by the file of that name beside it. A line
    `--! keys NAME…` declares keys by the names of `script_keys`: it binds those that no line before
    it did, and each call is given exactly these keys.
    """

    def __init__(self, name: str) -> None:
        folder = files("celeriac.store.redis") / "lua"
        self.name = name
        lines = list(_with_includes(folder, name, set()))
        declared = [key for line in lines for key in _declared(line)]
        # By their names; those of the minute last.
        self.names = tuple(sorted(dict.fromkeys(declared), key=lambda key: key in OF_MINUTE))
        self.source = "\n".join(_bound(lines, self.names))
        self.digest = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()

    def keys(
        self, keys: Keys, domain: str, handler: str = "", now_ms: int | None = None
    ) -> tuple[str, ...]:
        """Return the keys that the script declares. `now_ms`, an estimate of the server's clock, is
        needed where it declares keys of the minute."""
        if now_ms is None:
            return script_keys(keys, self.names, domain, handler)
        named = script_keys(keys, self.names[: -len(OF_MINUTE)], domain, handler)
        return named + minute_keys(keys, domain, handler, now_ms)

    def of_keys(self, keys: Sequence[Key], *args: Any) -> tuple[Any, ...]:
        """As one of many commands. Its answer is NoScriptError until the server knows it."""
        return ("EVALSHA", self.digest, len(keys), *keys, *args)

    def in_full(self, keys: Sequence[Key], *args: Any) -> tuple[Any, ...]:
        """As a command that the server carries out whether it knows the script or not.

        In a transaction, an answer NoScriptError would come after the others were carried out.
        """
        return ("EVAL", self.source, len(keys), *keys, *args)

    def on_keys(self, client: Client, keys: Sequence[Key], *args: Any) -> Any:
        """Runs it on several keys of one slot. Blocks for the round trip."""
        try:
            return client.execute_command(*self.of_keys(keys, *args))
        except NoScriptError:
            # Which loads it too, and on the very server of the keys.
            return client.execute_command(*self.in_full(keys, *args))

    def on_keys_many(
        self, client: Client, calls: Sequence[tuple[Sequence[Key], Sequence[Any]]]
    ) -> list[Any]:
        """Runs it for each (keys, args) in one round trip; a failed call yields its exception."""
        answers = self._sent(client, calls)
        if any(isinstance(answer, NoScriptError) for answer in answers):
            client.script_load(self.source)
            missed = [i for i, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
            again = self._sent(client, [calls[i] for i in missed])
            for i, answer in zip(missed, again, strict=True):
                answers[i] = answer
        return answers

    def _sent(
        self, client: Client, calls: Sequence[tuple[Sequence[Key], Sequence[Any]]]
    ) -> list[Any]:
        return list(client.execute_many(self.of_keys(keys, *args) for keys, args in calls))

    def begin(self, client: Client, keys: Sequence[Key], *args: Any) -> Callable[[], Any]:
        """Sends it; the function returned waits for the answer, and must be called once."""
        read = client.begin_many([self.of_keys(keys, *args)])

        def answer() -> Any:
            [found] = read()
            if isinstance(found, NoScriptError):
                return self.on_keys(client, keys, *args)
            if isinstance(found, Exception):
                raise found
            return found

        return answer


def _with_includes(folder: Traversable, name: str, included: set[str]) -> Iterator[str]:
    for line in (folder / name).read_text("utf-8").splitlines():
        if not line.startswith(INCLUDE):
            yield line
        elif (other := line.split()[-1]) not in included:
            included.add(other)
            yield from _with_includes(folder, other, included)


def _declared(line: str) -> list[str]:
    return line.removeprefix(DECLARE).split() if line.startswith(DECLARE) else []


def _bound(lines: Sequence[str], names: Sequence[str]) -> Iterator[str]:
    """The lines, with those that declare keys replaced by those that bind them."""
    bound: set[str] = set()
    for line in lines:
        if declared := _declared(line):
            new = [name for name in dict.fromkeys(declared) if name not in bound]
            bound.update(new)
            values = ", ".join(f"KEYS[{names.index(name) + 1}]" for name in new)
            yield f"local {', '.join(new)} = {values}" if new else ""
        else:
            yield line
