"""The delivery store on Redis or Valkey, for operators: dead letters, replays, the audit log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.exceptions import ResponseError

from celeriac.delivery.archive_replay import (
    ArchivedDelivery,
    ArchiveReplay,
    ArchiveReplayStep,
)
from celeriac.delivery.dead_letter import Audited, DeadGroup, DeadLetter, EditedDeadLetter
from celeriac.delivery.delivery import Group
from celeriac.errors import NotFound
from celeriac.store.redis.archive_replay import (
    pack_archive_replay,
    parse_archive_replay,
    parse_archive_replay_step,
)
from celeriac.store.redis.delivery_reader import RedisDeliveryReader
from celeriac.store.redis.delivery_script import pack_flow, parse_dead_letter, parse_int
from celeriac.store.redis.script import Script
from celeriac.store.redis.verified import forget_verified

_replay, _redrive, _edit, _discard, _begin_archive_replay, _replay_archived = (
    Script(f"{name}.lua")
    for name in (
        "replay",
        "redrive",
        "edit",
        "discard",
        "begin_archive_replay",
        "replay_archived",
    )
)


class RedisDeadLetters(RedisDeliveryReader):
    """Implements DeadLetters."""

    def dead(
        self, domain: str, *, after: str = "", count: int = 100, newest_first: bool = False
    ) -> list[DeadLetter]:
        key = self.keys.dead(domain)

        def read() -> Any:
            if newest_first:
                return self.client.xrevrange(key, max=f"({after}" if after else "+", count=count)
            return self.client.xrange(key, min=f"({after}" if after else "-", count=count)

        entries = self.invalid.unless_wrong_type(key, read, ())
        return [parse_dead_letter(domain, id, fields) for id, fields in entries]

    def dead_letter(self, domain: str, id: str) -> DeadLetter | None:
        try:
            entries = self.client.xrange(self.keys.dead(domain), min=id, max=id)
        except ResponseError:  # not an id
            return None
        return parse_dead_letter(domain, *entries[0]) if entries else None

    def dead_count(self, domain: str) -> int:
        return int(self._read([("xlen", self.keys.dead(domain))], 0)[0])

    def dead_groups(self, domain: str) -> list[DeadGroup]:
        keys = self.keys.dead_groups(domain), self.keys.dead_newest(domain)
        # In one transaction, because they are written together.
        pipeline = self.client.pipeline(transaction=True)
        for key in keys:
            pipeline.hgetall(key)
        answers = zip(keys, pipeline.execute(raise_on_error=False), strict=True)
        counted, newest = (self.invalid.answer(key, answer, {}) for key, answer in answers)
        counts = self.invalid.decode_all(keys[0], counted, lambda _, number: int(number))
        groups = []
        for name, count in counts.items():
            handler, _, exception = name.partition(" ")
            last = newest.get(name.encode(), b"").decode(errors="replace")
            groups.append(DeadGroup(domain, handler, exception, count, last))
        return groups

    def audit_log(self, domain: str, *, before: str = "", count: int = 100) -> list[Audited]:
        end = f"({before}" if before else "+"
        key = self.keys.audit(domain)
        entries = self.invalid.unless_wrong_type(
            key, lambda: self.client.xrevrange(key, max=end, count=count), ()
        )
        return [
            Audited(id.decode(), domain, fields.get(b"note", b""), parse_int(fields.get(b"count")))
            for id, fields in entries
        ]

    def redrive(
        self, group: Group, dead_letters: Sequence[tuple[DeadLetter, bytes]], note: bytes = b""
    ) -> int:
        if not dead_letters:
            return 0
        # An event whose entry was trimmed is appended again.
        known = [dead_letter.event_key for dead_letter, _ in dead_letters]
        forget_verified(self.client, self.keys, group, known)
        answer = self._of_group(
            _redrive,
            group,
            group.handler,
            self.window_ms,
            pack_flow(group.flow_control),
            note,
            *(
                value
                for dead_letter, addressed in dead_letters
                for value in (
                    dead_letter.id,
                    dead_letter.entry,
                    dead_letter.event_key,
                    addressed,
                )
            ),
        )
        return int(answer)

    def edit(self, group: Group, edited: Sequence[EditedDeadLetter], note: bytes = b"") -> int:
        if not edited:
            return 0
        answer = self._of_group(
            _edit,
            group,
            group.handler,
            self.window_ms,
            note,
            *(
                value
                for edit in edited
                for value in (
                    edit.dead_letter.id,
                    edit.dead_letter.entry,
                    edit.dead_letter.event_key,
                    edit.id,
                    f"{edit.type} {edit.key}",
                    edit.body,
                )
            ),
        )
        return int(answer)

    def discard(self, domain: str, ids: Sequence[str], note: bytes = b"") -> int:
        keys = _discard.keys(self.keys, domain)
        return int(_discard.on_keys(self.client, keys, "", note, *ids))

    def replay(self, group: Group, entries: Sequence[tuple[str, str]], note: bytes = b"") -> int:
        answer = self._of_group(
            _replay,
            group,
            group.handler,
            self.window_ms,
            pack_flow(group.flow_control),
            note,
            *(value for pair in entries for value in pair),
        )
        return int(answer)

    def archive_replay(self, group: Group) -> ArchiveReplay | None:
        key = self.keys.archive_replay(group.domain, group.handler)
        fields = self.invalid.unless_wrong_type(key, lambda: self.client.hgetall(key), {})
        return parse_archive_replay(fields) if fields else None

    def begin_archive_replay(
        self,
        group: Group,
        replay: ArchiveReplay,
        note: bytes = b"",
        *,
        replaces: bool = False,
    ) -> ArchiveReplay:
        keys = self.keys_of(_begin_archive_replay, group)
        arguments = (replay.operation, "1" if replaces else "", replay.started_ms)
        answer = _begin_archive_replay.on_keys(
            self.client, keys, note, *arguments, *pack_archive_replay(replay)
        )
        return parse_archive_replay(dict(zip(answer[::2], answer[1::2], strict=True)))

    def replay_archived(
        self,
        group: Group,
        operation: str,
        deliveries: Sequence[ArchivedDelivery],
        note: bytes = b"",
        *,
        is_last: bool = False,
    ) -> ArchiveReplayStep:
        answer = self._of_group(
            _replay_archived,
            group,
            group.handler,
            self.window_ms,
            pack_flow(group.flow_control),
            note,
            operation,
            "1" if is_last else "",
            *(
                value
                for delivery in deliveries
                for value in (delivery.entry, delivery.event_key, delivery.addressed)
            ),
        )
        return parse_archive_replay_step(answer)

    def record(self, domain: str, note: bytes) -> None:
        key = self.keys.audit(domain)
        self.client.xadd(key, {"note": note, "count": 0}, maxlen=10_000, approximate=True)

    def forget(self, group: Group) -> None:
        keys, domain, handler = self.keys, group.domain, group.handler
        doomed = [keys.scheduled(domain, handler), keys.stats(domain, handler)]
        doomed += [keys.patterns(domain, handler), keys.counters(domain, handler)]
        doomed += [keys.lost_runs(domain, handler), keys.archive_replay(domain, handler)]
        doomed += [keys.chunks(domain, handler), keys.runs(domain, handler)]
        doomed += keys.of_flow(domain, handler)
        for kind in (keys.matrix, keys.verified, keys.failures, keys.emitted_events):
            doomed += kind(domain, handler)
        this = int(self.client.time()[0]) // 60
        doomed += [keys.counters(domain, handler, minute) for minute in range(this - 61, this + 1)]
        self.client.unlink(*doomed)
        self.client.hdel(keys.clock(domain), handler)

    def _of_group(self, script: Script, group: Group, *args: Any) -> Any:
        answer = self.unless_removed(script, group, *args)
        if answer is None:
            raise NotFound(
                f"{group.handler} has no subscription in the domain {group.domain}. "
                "Check the name with `celeriac handlers`"
            )
        return answer
