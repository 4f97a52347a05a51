"""Lua scripts that lie beside the code, loaded into the server once and called by digest."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any

from redis.exceptions import NoScriptError

from celeriac.connection import Client


class Script:
    """One script. `--! include NAME` lines are replaced by the file of that name beside it."""

    def __init__(self, package: str, name: str) -> None:
        folder = files(package) / "lua"
        lines = (folder / name).read_text("utf-8").splitlines()
        self.name = name
        self.source = "\n".join(
            (folder / line.split()[-1]).read_text("utf-8")
            if line.startswith("--! include ")
            else line
            for line in lines
        )
        self.digest = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()

    def command(self, key: str, *args: Any) -> tuple[Any, ...]:
        """As one of many commands. Its answer is NoScriptError until the server knows it."""
        return self.of_keys((key,), *args)

    def of_keys(self, keys: Sequence[str], *args: Any) -> tuple[Any, ...]:
        """As `command`, for several keys of one slot."""
        return ("EVALSHA", self.digest, len(keys), *keys, *args)

    def in_full(self, keys: Sequence[str], *args: Any) -> tuple[Any, ...]:
        """As a command that the server carries out whether it knows the script or not.

        In a transaction, an answer NoScriptError would come after the others were carried out.
        """
        return ("EVAL", self.source, len(keys), *keys, *args)

    def __call__(self, client: Client, key: str, *args: Any) -> Any:
        """Runs it on one key. Blocks for the round trip."""
        return self.on_keys(client, (key,), *args)

    def on_keys(self, client: Client, keys: Sequence[str], *args: Any) -> Any:
        """Runs it on several keys of one slot. Blocks for the round trip."""
        try:
            return client.execute_command(*self.of_keys(keys, *args))
        except NoScriptError:
            # Which loads it too, and on the very server of the keys.
            return client.execute_command(*self.in_full(keys, *args))

    def on_keys_many(
        self, client: Client, calls: Sequence[tuple[Sequence[str], Sequence[Any]]]
    ) -> list[Any]:
        """Runs it for each (keys, args) in one round trip; a failed call yields its exception."""
        answers = list(client.execute_many(self.of_keys(keys, *args) for keys, args in calls))
        for i, answer in enumerate(answers):
            if isinstance(answer, NoScriptError):
                keys, args = calls[i]
                answers[i] = self.on_keys(client, keys, *args)
        return answers

    def begin(self, client: Client, key: str, *args: Any) -> Callable[[], Any]:
        """Sends it; the function returned waits for the answer, and must be called once."""
        read = client.begin_many([self.command(key, *args)])

        def answer() -> Any:
            [found] = read()
            if isinstance(found, NoScriptError):
                return self(client, key, *args)
            if isinstance(found, Exception):
                raise found
            return found

        return answer

    def call_many(self, client: Client, calls: list[tuple[Any, ...]]) -> list[Any]:
        """Runs it for each (key, *args) in one round trip; a failed call yields its exception."""
        answers = self._sent(client, calls)
        if any(isinstance(answer, NoScriptError) for answer in answers):
            client.script_load(self.source)
            missed = [i for i, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
            again = self._sent(client, [calls[i] for i in missed])
            for i, answer in zip(missed, again, strict=True):
                answers[i] = answer
        return answers

    def _sent(self, client: Client, calls: list[tuple[Any, ...]]) -> list[Any]:
        return list(client.execute_many(self.command(*call) for call in calls))
