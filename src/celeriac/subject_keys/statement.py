"""The SQL of the table of subjects' keys, with parameters as `:name`."""

from __future__ import annotations

TABLE = "celeriac_subject_keys"

_COLUMNS = "digest, subject, key_id, wrapped, erased_ms, erased_by, reason"
OF_SUBJECT = f"SELECT {_COLUMNS} FROM {TABLE} WHERE digest = :digest"
OF_KEY = f"SELECT {_COLUMNS} FROM {TABLE} WHERE key_id = :key_id"
# The next keys in the order of their digests.
PAGE = (
    f"SELECT {_COLUMNS} FROM {TABLE} WHERE digest > :after AND wrapped IS NOT NULL "
    "ORDER BY digest LIMIT :count"
)
INSERT = (
    f"INSERT INTO {TABLE} (digest, subject, key_id, wrapped, created_ms, erased_ms, erased_by, "
    "reason) VALUES (:digest, :subject, :key_id, :wrapped, :created_ms, :erased_ms, :erased_by, "
    ":reason)"
)
ERASE = (
    f"UPDATE {TABLE} SET wrapped = NULL, erased_ms = :erased_ms, erased_by = :erased_by, "
    "reason = :reason WHERE digest = :digest AND erased_ms IS NULL"
)
# An erasure since the row was read stays.
REWRAP = f"UPDATE {TABLE} SET wrapped = :wrapped WHERE digest = :digest AND wrapped IS NOT NULL"
