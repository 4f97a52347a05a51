"""The time limits of a handler, also where the app or the worker has limits for all tasks.

A workaround for billiard 4.2 to 4.3 under Celery 5.5 to 5.7: `Pool.apply_async` takes a limit of 0
for none given (`timeout or self.timeout`), and puts the pool's in its place. The pool has those of
`task_time_limit`, `task_soft_time_limit`, `--time-limit` and `--soft-time-limit`, which would end a
handler without limits of its own. It can go when a task with a limit of 0 has none in the pool.

Private parts: `billiard.pool.ApplyResult._timeout` and `._soft_timeout`, and that Celery runs a
task's requests by a subclass of its `Request` with an `execute_using_pool` of its own.
"""

from __future__ import annotations

from typing import Any

from billiard.pool import ApplyResult


def limit_as_task(request_class: type[Any]) -> None:
    """Make the requests of the class run with exactly their task's limits in the prefork pool."""
    execute = request_class.execute_using_pool

    def execute_using_pool(self: Any, pool: Any, **options: Any) -> Any:
        result = execute(self, pool, **options)
        if isinstance(result, ApplyResult):
            # They count from when a process accepts the job, which is read after this.
            result._timeout = self.task.time_limit or 0
            result._soft_timeout = self.task.soft_time_limit or 0
        return result

    request_class.execute_using_pool = execute_using_pool
