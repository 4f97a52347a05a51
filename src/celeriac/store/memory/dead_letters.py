"""The delivery store in memory, for operators: dead letters, replays, the audit log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from msgspec import structs

from celeriac.delivery.archive_replay import (
    ArchivedDelivery,
    ArchiveReplay,
    ArchiveReplayStep,
    StepEnd,
)
from celeriac.delivery.dead_letter import (
    Audited,
    DeadGroup,
    DeadLetter,
    EditedDeadLetter,
    exception_of,
)
from celeriac.delivery.delivery import Group
from celeriac.delivery.state import DeliveryState
from celeriac.errors import NotFound
from celeriac.event import EmittedEvent, EmittedEvents
from celeriac.event_log import EntryKind
from celeriac.store.memory.archive_replay import begins, replay_archived
from celeriac.store.memory.delivery_reader import MemoryDeliveryReader
from celeriac.store.memory.transitions import Transitions


class MemoryDeadLetters(MemoryDeliveryReader):
    """Implements DeadLetters."""

    def dead(
        self, domain: str, *, after: str = "", count: int = 100, newest_first: bool = False
    ) -> list[DeadLetter]:
        bound = f"({after}" if after else ""
        with self._lock:
            dead_letters = self.event_log.store[domain].dead
            if newest_first:
                entries = dead_letters.range("-", bound or "+")[::-1]
            else:
                entries = dead_letters.range(bound or "-", "+")
        return [replace(dead_letter, id=id) for id, dead_letter in entries[:count]]

    def dead_letter(self, domain: str, id: str) -> DeadLetter | None:
        try:
            with self._lock:
                stored = self.event_log.store[domain].dead.get(id)
        except ValueError:  # not an id
            return None
        return replace(stored, id=id) if stored else None

    def dead_count(self, domain: str) -> int:
        with self._lock:
            return len(self.event_log.store[domain].dead)

    def dead_groups(self, domain: str) -> list[DeadGroup]:
        ids_of: dict[tuple[str, str], list[str]] = {}
        with self._lock:
            for id, dead_letter in self.event_log.store[domain].dead.range("-", "+"):
                key = dead_letter.handler, exception_of(dead_letter.error)
                ids_of.setdefault(key, []).append(id)
        return [DeadGroup(domain, *key, len(ids), ids[-1]) for key, ids in sorted(ids_of.items())]

    def redrive(
        self, group: Group, dead_letters: Sequence[tuple[DeadLetter, bytes]], note: bytes = b""
    ) -> int:
        if not dead_letters:
            return 0
        with self._lock:
            moves = self._of_group(group)
            done = sum(
                self._redrive(moves, dead_letter, addressed, note)
                for dead_letter, addressed in dead_letters
            )
            if done:
                moves.notify()
                self._audit(group.domain, note, done)
            return done

    def _redrive(
        self, moves: Transitions, dead_letter: DeadLetter, addressed: bytes, note: bytes
    ) -> bool:
        domain, store = moves.group.domain, moves.store
        if dead_letter.entry in moves.consumers.pending or not store.dead.remove(dead_letter.id):
            return False
        moves.handler_store.verified.drop(dead_letter.event_key)
        moves.handler_store.begin_again(
            dead_letter.event_key, dead_letter.entry, note.decode(), moves.now
        )
        if domain in self._invalid:
            self._invalid[domain].drop(dead_letter.entry)
        body = moves.body(dead_letter.entry)
        if body is None:
            self.event_log.append(domain, addressed, EntryKind.REDRIVEN)
        elif not moves.consumers.waits_for(dead_letter.entry):
            moves.revive(dead_letter.entry, body, "redrive", DeliveryState.DEAD)
        return True

    def edit(self, group: Group, edited: Sequence[EditedDeadLetter], note: bytes = b"") -> int:
        if not edited:
            return 0
        with self._lock:
            moves = self._of_group(group)
            done = sum(self._edit(moves, edit, note) for edit in edited)
            if done:
                self._audit(group.domain, note, done)
            return done

    def _edit(self, moves: Transitions, edit: EditedDeadLetter, note: bytes) -> bool:
        key, entry = edit.dead_letter.event_key, edit.dead_letter.entry
        if not key or not moves.store.dead.remove(edit.dead_letter.id):
            return False
        moves.handler_store.note_edit(key, entry, edit.id, note.decode(), moves.now)
        moves.handler_store.add_emitted(
            key, EmittedEvents((EmittedEvent(edit.type, edit.key),)), moves.now
        )
        self.event_log.append(moves.group.domain, edit.body, EntryKind.MADE)
        return True

    def discard(self, domain: str, ids: Sequence[str], note: bytes = b"") -> int:
        with self._lock:
            done = sum(map(self.event_log.store[domain].dead.remove, ids))
            if done:
                self._audit(domain, note, done)
            return done

    def replay(self, group: Group, entries: Sequence[tuple[str, str]], note: bytes = b"") -> int:
        with self._lock:
            moves, scheduled = self._of_group(group), 0
            for entry, event_key in entries:
                if moves.replay(entry, event_key, note):
                    scheduled += 1
            if scheduled:
                moves.notify()
                self._audit(group.domain, note, scheduled)
            return scheduled

    def archive_replay(self, group: Group) -> ArchiveReplay | None:
        with self._lock:
            return self.handler_store(group).archive_replay

    def begin_archive_replay(
        self,
        group: Group,
        replay: ArchiveReplay,
        note: bytes = b"",
        *,
        replaces: bool = False,
    ) -> ArchiveReplay:
        with self._lock:
            store = self.handler_store(group)
            if store.archive_replay is None or begins(store.archive_replay, replay, replaces):
                store.archive_replay = replay
                self._audit(group.domain, note, 0)
            return store.archive_replay

    def replay_archived(
        self,
        group: Group,
        operation: str,
        deliveries: Sequence[ArchivedDelivery],
        note: bytes = b"",
        *,
        is_last: bool = False,
    ) -> ArchiveReplayStep:
        with self._lock:
            moves = self._of_group(group)
            before = moves.handler_store.archive_replay
            step = replay_archived(moves, self.event_log, operation, deliveries, note)
            replay = moves.handler_store.archive_replay
            if before is None or replay is None or step.end is StepEnd.REPLACED:
                return step
            if is_last and step.end is StepEnd.DONE and not replay.is_finished:
                moves.handler_store.archive_replay = structs.replace(replay, is_finished=True)
                if step.scheduled:
                    self._audit(group.domain, note, step.scheduled)
            if step.scheduled > before.scheduled:
                moves.notify()
            return step

    def _audit(self, domain: str, note: bytes, count: int) -> None:
        if note:
            self.event_log.store[domain].actions.append(
                self.event_log.clock.now_ms(), (note, count)
            )

    def record(self, domain: str, note: bytes) -> None:
        with self._lock:
            self._audit(domain, note, 0)

    def audit_log(self, domain: str, *, before: str = "", count: int = 100) -> list[Audited]:
        with self._lock:
            actions = self.event_log.store[domain].actions
            entries = actions.range("-", f"({before}" if before else "+")[::-1]
            return [Audited(id, domain, note, done) for id, (note, done) in entries[:count]]

    def forget(self, group: Group) -> None:
        with self._lock:
            self._handler_stores.pop((group.domain, group.handler), None)

    def _of_group(self, group: Group) -> Transitions:
        moves = self.moves(group)
        if moves is None:
            raise NotFound(
                f"{group.handler} has no subscription in the domain {group.domain}. Check the "
                "name with `celeriac handlers`"
            )
        return moves
