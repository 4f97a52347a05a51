"""Parts of celeriac switched off or on, to measure the cost of each."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from celeriac.store.redis import deliveries as deliveries
from celeriac.store.redis.script import Script

ROWS = "redis.call('HSET', rows, ...)"


def forget_rows() -> None:
    """Claim and finish without writing the matrix. Raises LookupError where they changed."""
    for script in vars(deliveries).values():
        if isinstance(script, Script) and script.name in ("claim.lua", "complete.lua"):
            if ROWS not in script.source:
                raise LookupError(f"{script.name} writes its rows in another way now")
            script.source = script.source.replace(ROWS, "do end")
            digest = hashlib.sha1(script.source.encode(), usedforsecurity=False)
            script.digest = digest.hexdigest()


def signing() -> dict[str, Any]:
    """Every event signed, and run only if it is: for BENCH_SIGNED."""
    if "BENCH_SIGNED" not in os.environ:
        return {}
    keys = Path(os.environ["BENCH_KEYS"])
    return {
        "signing_key": str(keys / "secret.json"),
        "trusted_keys": str(keys / "public.json"),
        "require_signature": True,
    }
