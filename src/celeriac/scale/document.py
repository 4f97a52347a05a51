"""The JSON document of an answer, for the command line and for HTTP."""

from __future__ import annotations

from typing import Any

import msgspec

from celeriac.scale.wanted import WorkersWanted


def scale_document(answer: WorkersWanted) -> dict[str, Any]:
    """Return the answer with plain values. `workers` is what an autoscaler reads."""
    target = answer.target
    return {
        "service": answer.service,
        "workers": answer.workers,
        "uncapped": answer.uncapped,
        "work_s": answer.work_s,
        "drain_target": target.drain_target,
        "cooldown": target.cooldown,
        "processes": target.processes,
        "max": target.max_workers,
        "reasons": list(answer.reasons),
        "ticks": msgspec.to_builtins(answer.ticks),
        "handlers": [
            {
                **msgspec.to_builtins(work.load),
                "backlog": work.backlog,
                "work_s": work.work_s,
            }
            for work in answer.handlers
        ],
    }
