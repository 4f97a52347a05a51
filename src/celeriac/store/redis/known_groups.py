"""The consumer groups of each log, for scripts that read all of them (see lua/_groups.lua)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celeriac.store.redis.connection import Client
from celeriac.store.redis.keys import Keys
from celeriac.store.redis.script import Script

Key = Callable[[str, str], str]  # of a domain and a handler
Call = tuple[tuple[str | bytes, ...], tuple[Any, ...]]


class KnownGroups:
    """The groups of each domain as a script last returned them. Names are bytes: other programs may
    have groups too."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._known: dict[str, list[bytes]] = {}

    def call(self, script: Script, domain: str, kinds: tuple[Key, ...], *args: Any) -> Call:
        """Return keys and arguments of the script, with keys of these kinds for each group."""
        names = self._known.get(domain, [])
        handlers = [name.decode(errors="surrogateescape") for name in names]
        keys = tuple(
            kind(domain, handler).encode(errors="surrogateescape")
            for kind in kinds
            for handler in handlers
        )
        named = script.keys(self._keys, domain)
        return (*named, *keys), (*args, *names)

    def learn(self, domain: str, answer: Any) -> bool:
        """Store the groups if the script returned them. Returns True if so: call it again."""
        if not isinstance(answer, list) or answer[:1] != [b""]:
            return False
        self._known[domain] = answer[1:]
        return True

    def run(
        self, client: Client, script: Script, domain: str, kinds: tuple[Key, ...], *args: Any
    ) -> Any:
        """Return the reply of the script. Blocks for a round trip, or for two."""
        while True:
            keys, arguments = self.call(script, domain, kinds, *args)
            answer = script.on_keys(client, keys, *arguments)
            if not self.learn(domain, answer):
                return answer
