"""Keys of subjects as rows of a table, in any database."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any, NamedTuple, Protocol, TypeVar

from celeriac import missing_table
from celeriac.security.subject_key import Erasure, SubjectKey, erased, new_subject_key, now_ms
from celeriac.subject_keys import statement
from celeriac.subject_keys.master_key import MasterKeys

REWRAPPED = 1000  # rows of one transaction
MAX_ACTOR, MAX_REASON = 255, 1000

T = TypeVar("T")


class StatementResult(NamedTuple):
    """The rows of a query, or the number of rows that a statement changed."""

    rows: Sequence[Any]
    changed: int


Execute = Callable[[str, Mapping[str, Any]], StatementResult]


class Transactions(Protocol):
    """Transactions of their own, outside those of the application. Methods block.

    Attributes:
        remedy: How the table is created.
    """

    remedy: str

    def run(self, work: Callable[[Execute], T]) -> T:
        """Return the result of `work`, committed. Raises the errors of the database."""
        ...

    def is_conflict(self, error: Exception) -> bool:
        """Return whether a row with the same primary key exists."""
        ...


class KeyRow(NamedTuple):
    """A row of the table, in the order of the columns of `statement`."""

    digest: str
    subject: str
    key_id: str
    wrapped: bytes | None
    erased_ms: int | None
    erased_by: str | None
    reason: str | None

    def erasure(self, *, is_new: bool = False) -> Erasure:
        return Erasure(
            subject=self.subject,
            key_id=self.key_id,
            at_ms=self.erased_ms or 0,
            actor=self.erased_by or "",
            reason=self.reason or "",
            is_new=is_new,
        )


class StoredSubjectKeys:
    """Implements SubjectKeys in a database, each step in a transaction of its own.

    So a key outlives a transaction of the application that is rolled back after its first use.
    """

    def __init__(self, transactions: Transactions, master_keys: MasterKeys) -> None:
        self._transactions, self._master_keys = transactions, master_keys

    def key_of(self, subject: str) -> SubjectKey:
        row = self._row_of(subject)
        if row is None:
            key = new_subject_key()
            wrapped = self._master_keys.wrap(key.secret)
            if self._insert(subject, key_id=key.id, wrapped=wrapped):
                return key
            # Another process inserted it.
            row = self._existing(subject)
        return SubjectKey(row.key_id, self._unwrapped(row))

    def secret_of(self, key_id: str) -> bytes | None:
        row = self._row(statement.OF_KEY, key_id=key_id)
        return None if row is None else self._unwrapped(row)

    def erase(self, subject: str, *, actor: str, reason: str = "") -> Erasure:
        recorded = {
            "erased_ms": now_ms(),
            "erased_by": actor[:MAX_ACTOR],
            "reason": reason[:MAX_REASON],
        }
        is_new = self._erase(subject, recorded)
        if not is_new and self._row_of(subject) is None:
            tombstone = {"key_id": new_subject_key().id, "wrapped": None, **recorded}
            is_new = self._insert(subject, **tombstone) or self._erase(subject, recorded)
        return self._existing(subject).erasure(is_new=is_new)

    def erasure(self, subject: str) -> Erasure | None:
        row = self._row_of(subject)
        return None if row is None or row.erased_ms is None else row.erasure()

    def rewrap(self) -> int:
        """Wrap all keys with the first master key; return how many. Blocks; idempotent.

        Afterwards the other master keys can be destroyed. Then the keys in older backups of the
        database cannot be unwrapped, including those of erased subjects.
        """
        done, after = 0, ""
        while rows := self._page(after):
            changed = [pair for pair in map(self._rewrapped, rows) if pair is not None]
            done += self._run(
                lambda execute, changed=changed: sum(  # type: ignore[misc]
                    execute(statement.REWRAP, pair).changed for pair in changed
                )
            )
            after = rows[-1].digest
        return done

    # -- rows

    def _row_of(self, subject: str) -> KeyRow | None:
        return self._row(statement.OF_SUBJECT, digest=digest_of(subject))

    def _existing(self, subject: str) -> KeyRow:
        row = self._row_of(subject)
        if row is None:
            raise RuntimeError("a row of celeriac_subject_keys was deleted outside celeriac")
        return row

    def _row(self, query: str, **parameters: Any) -> KeyRow | None:
        rows = self._rows(query, **parameters)
        return rows[0] if rows else None

    def _page(self, after: str) -> Sequence[KeyRow]:
        return self._rows(statement.PAGE, after=after, count=REWRAPPED)

    def _rows(self, query: str, **parameters: Any) -> Sequence[KeyRow]:
        answer = self._run(lambda execute: execute(query, parameters))
        return [KeyRow(*row) for row in answer.rows]

    def _run(self, work: Callable[[Execute], T]) -> T:
        try:
            return self._transactions.run(work)
        except Exception as error:
            remedy = self._transactions.remedy
            explained = missing_table.explained(error, [statement.TABLE], remedy, "erase.md")
            if explained is error:
                raise
            raise explained from error

    def _insert(self, subject: str, **values: Any) -> bool:
        """Insert a row; return False if the subject has one."""
        row = {
            "digest": digest_of(subject),
            "subject": subject,
            "created_ms": now_ms(),
            **dict.fromkeys(("erased_ms", "erased_by", "reason")),
            **values,
        }
        try:
            self._run(lambda execute: execute(statement.INSERT, row))
        except Exception as error:
            if not self._transactions.is_conflict(error):
                raise
            return False
        return True

    def _erase(self, subject: str, recorded: Mapping[str, Any]) -> bool:
        """Destroy the key of a subject; return False if there is no row that is not erased."""
        parameters = {"digest": digest_of(subject), **recorded}
        answer = self._run(lambda execute: execute(statement.ERASE, parameters))
        return bool(answer.changed)

    def _rewrapped(self, row: KeyRow) -> dict[str, Any] | None:
        wrapped = self._master_keys.wrap(self._unwrapped(row))
        if row.wrapped is None or wrapped == bytes(row.wrapped):
            return None
        return {"digest": row.digest, "wrapped": wrapped}

    def _unwrapped(self, row: KeyRow) -> bytes:
        if row.wrapped is None:
            raise erased(row.erasure())
        return self._master_keys.unwrap(bytes(row.wrapped), row.key_id)


def digest_of(subject: str) -> str:
    """Return the primary key of a subject's row."""
    return sha256(subject.encode(errors="surrogatepass")).hexdigest()
