"""Delete ended instances of processes whose time is over. The active relay does it.

Steps are deleted by the keys of their instances: a condition on the instances' expiry would read
all steps of the database.
"""

from __future__ import annotations

from celeriac.outbox.database import Execute

PROCESSES, STEPS = "celeriac_process", "celeriac_process_step"
# Keys of one statement. SQLite limits the depth of an expression to 1,000.
MAX_KEYS = 200

_EXPIRED = (
    f"SELECT handler, instance_key FROM {PROCESSES} WHERE expires_ms <= :now "
    "ORDER BY expires_ms LIMIT :max_rows"
)
# A worker holds the row of an instance that an event was late for.
_LOCKING = " FOR UPDATE SKIP LOCKED"
# On SQLite, where each statement is a transaction, the key may have a new instance by now.
_STILL_EXPIRED = (
    f" AND EXISTS (SELECT 1 FROM {PROCESSES} ended WHERE ended.handler = {STEPS}.handler "
    f"AND ended.instance_key = {STEPS}.instance_key AND ended.expires_ms <= :now)"
)


def prune(execute: Execute, kind: str, now_ms: int) -> int:
    """Delete expired instances with their steps, at most MAX_KEYS; return their number. Blocks."""
    expired = _EXPIRED if kind == "sqlite" else _EXPIRED + _LOCKING
    keys = execute(expired, {"now": now_ms, "max_rows": MAX_KEYS})
    if not keys:
        return 0
    listed = " OR ".join(
        f"(handler = :h{number} AND instance_key = :k{number})" for number in range(len(keys))
    )
    parameters = {"now": now_ms}
    for number, (handler, key) in enumerate(keys):
        parameters |= {f"h{number}": handler, f"k{number}": key}
    steps = f"DELETE FROM {STEPS} WHERE ({listed})"
    execute(steps + _STILL_EXPIRED if kind == "sqlite" else steps, parameters)
    execute(f"DELETE FROM {PROCESSES} WHERE ({listed}) AND expires_ms <= :now", parameters)
    return len(keys)
