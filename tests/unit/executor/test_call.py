"""Running coroutines of handlers."""

from __future__ import annotations

import asyncio

from celeriac.executor import call
from tests.unit.test_fork import in_child


def test_the_child_of_a_fork_runs_coroutines_in_a_loop_of_its_own() -> None:
    inherited = call._runner().get_loop()

    async def running() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    def has_its_own() -> bool:
        own = call._runner().run(running())
        return own is not inherited and not inherited.is_closed()

    assert in_child(has_its_own)
    assert inherited is call._runner().run(running()), "the parent keeps its loop"
