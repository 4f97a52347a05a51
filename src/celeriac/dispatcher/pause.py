"""How long a dispatcher waits before it asks for a handler again. Pure; all times in seconds."""

from __future__ import annotations

IDLE = 0.5  # longest wait at the doorbell: due times and new domains are looked for this often
BUSY = 0.01  # pause while this worker holds all that it may


def until_room(held_us: int, processes: int) -> float:
    """Till about a quarter of what this worker holds is done."""
    return min(IDLE, max(BUSY, held_us / 1e6 / processes / 4))


def until_share(mean_us: int) -> float:
    """Soon after a process of a slow handler may be free again."""
    return min(0.1, max(BUSY, mean_us / 1e6 / 50))


def until(due_ms: int, now_ms: int) -> float:
    """Till something is due."""
    return min(IDLE, max(BUSY, (due_ms - now_ms) / 1000))
