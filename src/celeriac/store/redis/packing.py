"""The commands that append events to logs in Redis, packed in the wire format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import redis

from celeriac.event_log.event_log import EntryKind, Item, time_ms
from celeriac.event_log.registered import arguments, is_plain, is_registered, runs
from celeriac.store.redis.append_once import APPEND_ONCE
from celeriac.store.redis.keys import Keys

MADE, FOREIGN = EntryKind.MADE, EntryKind.FOREIGN


class XaddPrefixes(dict[str, bytes]):
    """Domain → the first bytes of each XADD to its log, for one kind of entries."""

    def __init__(self, keys: Keys, kind: EntryKind) -> None:
        super().__init__()
        self._keys, self._field = keys, kind.value

    def __missing__(self, domain: str) -> bytes:
        words = ("XADD", self._keys.events(domain), "*", self._field)
        bulks = (b"$%d\r\n%b\r\n" % (len(word), word) for word in map(str.encode, words))
        self[domain] = head = b"*5\r\n" + b"".join(bulks)
        return head

    def append(self, domain: str, body: bytes) -> bytes:
        """Return an XADD in the wire format (RESP, an array of bulk strings)."""
        return b"%b$%d\r\n%b\r\n" % (self[domain], len(body), body)


class OncePrefixes(dict[str, tuple[int, bytes]]):
    """Domain → the number of words, and the bytes, that begin each call of append_once.lua."""

    def __init__(self, keys: Keys) -> None:
        super().__init__()
        self._keys = keys

    def __missing__(self, domain: str) -> tuple[int, bytes]:
        words = APPEND_ONCE.of_keys(APPEND_ONCE.keys(self._keys, domain))
        self[domain] = head = len(words), _bulks(words)
        return head


class Packing:
    """How events are packed: one XADD each, or several in one call of append_once.lua."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._made, self._foreign = XaddPrefixes(keys, MADE), XaddPrefixes(keys, FOREIGN)
        self._once = OncePrefixes(keys)

    def plain(self, domain: str, body: bytes, kind: EntryKind) -> bytes:
        if kind is MADE:
            return self._made.append(domain, body)
        heads = self._foreign if kind is FOREIGN else XaddPrefixes(self._keys, kind)
        return heads.append(domain, body)

    def portion(
        self, items: Sequence[Item], window: Callable[[], float]
    ) -> tuple[bytes, list[int]]:
        """Return the commands that append the events, and how many events each of them appends.

        `window` is called only if it is needed: see `commands`.
        """
        if is_plain(items):
            plain = self.plain
            packed = [plain(domain, body, kind) for domain, body, kind, _ in items]
            return b"".join(packed), [1] * len(items)
        commands = self.commands(items, window())
        return b"".join(pack_command(words) for words, _ in commands), [n for _, n in commands]

    def commands(self, items: Sequence[Item], window: float) -> list[tuple[Sequence[Any], int]]:
        """Return each command and the number of events that it appends. `window`: seconds."""
        return [(self._command_of(run, window), len(run)) for run in runs(items)]

    def _command_of(self, run: Sequence[Item], window: float) -> Sequence[Any]:
        domain, body, kind, since = run[0]
        if not is_registered(kind, since):
            return "XADD", self._keys.events(domain), "*", kind.value, body
        # EVAL, not EVALSHA: NoScriptError would arrive after the server appended the next events.
        return APPEND_ONCE.in_full(*self.call(run, window))

    def once(self, item: Item, window: float) -> bytes:
        """Return the call of append_once.lua by its digest. `window`: seconds."""
        count, head = self._once[item[0]]
        given = arguments([item], int(window * 1000), time_ms())
        return b"*%d\r\n%b%b" % (count + len(given), head, _bulks(given))

    def call(self, run: Sequence[Item], window: float) -> tuple[Sequence[str], *tuple[Any, ...]]:
        """Return the keys and the arguments of append_once.lua, for events of one domain."""
        domain = run[0][0]
        return APPEND_ONCE.keys(self._keys, domain), *arguments(run, int(window * 1000), time_ms())


def pack_command(words: Sequence[Any]) -> bytes:
    """Return a command in the wire format (RESP, an array of bulk strings)."""
    return b"*%d\r\n%b" % (len(words), _bulks(words))


def _bulks(words: Sequence[Any]) -> bytes:
    bulks = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"".join([b"$%d\r\n%b\r\n" % (len(bulk), bulk) for bulk in bulks])


def refuse_first(answers: Sequence[Any], counts: Sequence[int]) -> None:
    """Raise the first error among the replies, with the number of events that were appended before
    it as `appended`. `counts` are the numbers of events of each reply."""
    for at, answer in enumerate(answers):
        if isinstance(answer, Exception):
            answer.appended = sum(counts[:at])  # type: ignore[attr-defined]
            raise answer


def note_answered(error: redis.RedisError, counts: Sequence[int]) -> None:
    """Set `appended` of the error of a connection that was lost after some replies.

    Commands with a reply were executed, whatever happened afterwards. Raises the first error among
    these replies.
    """
    answered = getattr(error, "answers", ())
    refuse_first(answered, counts)
    error.appended = sum(counts[: len(answered)])  # type: ignore[attr-defined]
