"""A client whose server is a list of replies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


class ScriptedServer:
    """Replies to each call with the next list of `replies`; the last one is repeated.

    `sent` are the commands and transactions. The clock is at `seconds`, and was read `asked` times.
    """

    def __init__(self, *replies: Sequence[Any]) -> None:
        self.replies = list(replies)
        self.sent: list[Sequence[Any]] = []
        self.seconds, self.asked = 1000, 0

    def execute_many(self, commands: Iterable[Sequence[Any]]) -> list[Any]:
        commands = list(commands)
        if commands[0][0] == "TYPE":  # reports a key of another type
            return [b"other"] * len(commands)
        return self.transact_many(commands)

    def transact_many(self, transactions: Sequence[Any]) -> list[Any]:
        self.sent += transactions
        return list(self._following())

    def execute_command(self, *words: Any) -> Any:
        [answer] = self.execute_many([words])
        if isinstance(answer, Exception):
            raise answer
        return answer

    def send(self, packed: bytes, answers: int) -> Any:
        [reply] = self._following()
        return reply

    def time(self) -> tuple[int, int]:
        self.asked += 1
        return self.seconds, 7999

    def _following(self) -> Sequence[Any]:
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
