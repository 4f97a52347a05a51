"""Apply a handler's time limits even if the app or the worker has limits for all tasks.

A workaround for billiard 4.2 to 4.3 with Celery 5.5 to 5.7: `Pool.apply_async` treats a limit of 0
as missing (`timeout or self.timeout`) and uses the pool's limit instead. The pool's limits are
`task_time_limit`, `task_soft_time_limit`, `--time-limit` and `--soft-time-limit`, which would end a
handler without limits. It can be removed when a task with a limit of 0 has no limit in the pool.

Private parts: `billiard.pool.ApplyResult._timeout` and `._soft_timeout`, and the fact that Celery
creates a subclass of the task's `Request` with its own `execute_using_pool`.
"""

from __future__ import annotations

from typing import Any

from billiard.pool import ApplyResult


def limit_as_task(request_class: type[Any]) -> None:
    """Make requests of the class run with their task's limits only, in the prefork pool."""
    execute = request_class.execute_using_pool

    def execute_using_pool(self: Any, pool: Any, **options: Any) -> Any:
        result = execute(self, pool, **options)
        if isinstance(result, ApplyResult):
            # Both count from when a process accepts the job, which is read later.
            result._timeout = self.task.time_limit or 0
            result._soft_timeout = self.task.soft_time_limit or 0
        return result

    request_class.execute_using_pool = execute_using_pool
