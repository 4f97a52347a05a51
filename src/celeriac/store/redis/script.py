"""Lua scripts of the `lua` folder, loaded into the server once and called by digest."""

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

    The first line `--! include NAME` is replaced by that file. A line `--! keys NAME…` declares
    keys by the names of `script_keys`: it binds those that no earlier line bound, and each call
    passes exactly these keys.
    """

    def __init__(self, name: str) -> None:
        folder = files("celeriac.store.redis") / "lua"
        self.name = name
        lines = list(_with_includes(folder, name, set()))
        declared = [key for line in lines for key in _declared(line)]
        # By their names; keys of the minute are last.
        self.names = tuple(sorted(dict.fromkeys(declared), key=lambda key: key in OF_MINUTE))
        self.source = "\n".join(_bound(lines, self.names))
        self.digest = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()

    def keys(
        self, keys: Keys, domain: str, handler: str = "", now_ms: int | None = None
    ) -> tuple[str, ...]:
        """Return the keys that the script declares.

        `now_ms`, an estimate of the server's clock, is required if it declares keys of the minute.
        """
        if now_ms is None:
            return script_keys(keys, self.names, domain, handler)
        named = script_keys(keys, self.names[: -len(OF_MINUTE)], domain, handler)
        return named + minute_keys(keys, domain, handler, now_ms)

    def of_keys(self, keys: Sequence[Key], *args: Any) -> tuple[Any, ...]:
        """Return a call for use among other commands. Its reply may be NoScriptError."""
        return ("EVALSHA", self.digest, len(keys), *keys, *args)

    def in_full(self, keys: Sequence[Key], *args: Any) -> tuple[Any, ...]:
        """Return a call that contains the script, so that the server need not have it.

        In a transaction, NoScriptError would arrive after the other commands were executed.
        """
        return ("EVAL", self.source, len(keys), *keys, *args)

    def on_keys(self, client: Client, keys: Sequence[Key], *args: Any) -> Any:
        """Run the script with keys of one slot. Blocks for a round trip."""
        try:
            return client.execute_command(*self.of_keys(keys, *args))
        except NoScriptError:
            # EVAL also loads the script, on the server of these keys.
            return client.execute_command(*self.in_full(keys, *args))

    def on_keys_many(
        self, client: Client, calls: Sequence[tuple[Sequence[Key], Sequence[Any]]]
    ) -> list[Any]:
        """Run the script for each (keys, args) in one round trip; errors are among the replies."""
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
        """Send a call; the returned function waits for the reply, and must be called once."""
        read = client.begin_many([self.of_keys(keys, *args)])

        def answer() -> Any:
            [reply] = read()
            if isinstance(reply, NoScriptError):
                return self.on_keys(client, keys, *args)
            if isinstance(reply, Exception):
                raise reply
            return reply

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
    """Return the lines, with each declaration of keys replaced by their binding."""
    bound: set[str] = set()
    for line in lines:
        if declared := _declared(line):
            new = [name for name in dict.fromkeys(declared) if name not in bound]
            bound.update(new)
            values = ", ".join(f"KEYS[{names.index(name) + 1}]" for name in new)
            yield f"local {', '.join(new)} = {values}" if new else ""
        else:
            yield line
