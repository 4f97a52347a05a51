"""The inbox of a process's handler: opens the transaction that the event runs in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from msgspec import Raw

from celeriac.event import Event
from celeriac.handler import Handler
from celeriac.inbox import DjangoInbox, IdempotentReceiver, Inbox, current_session
from celeriac.process.memory import MemoryProcesses
from celeriac.process.runner import Runner
from celeriac.process.store import ProcessStore

OpenStore = Callable[[Any], ProcessStore]


class ProcessInbox:
    """The inbox of a process. On a bus in memory, MemoryProcesses is used instead."""

    def __init__(self, inbox: Inbox, runner: Runner) -> None:
        self.inbox, self.runner = inbox, runner
        self.given = runner.definition.inbox
        self.is_async, self.session_kind = inbox.is_async, inbox.session_kind

    def receive(self, receiver: IdempotentReceiver, argument: Any) -> Any:
        memory = MemoryProcesses.current
        if memory is None:
            return self.inbox.receive(receiver, argument)
        return memory.receive(receiver.handler, argument, self.runner.run)


def handling(runner: Runner, inbox: Inbox) -> Callable[..., Any]:
    """Return the function of the process's handler, which runs within the inbox's transaction."""
    open_store = _store_of(inbox)

    def handle(event: Event[Raw]) -> None:
        runner.run(event, open_store(current_session()))

    async def handle_async(event: Event[Raw]) -> None:
        def run(session: Any) -> None:
            runner.run(event, open_store(session))

        await current_session().run_sync(run)

    function = handle_async if inbox.is_async else handle
    cls = runner.definition.cls
    function.__name__, function.__qualname__ = runner.definition.name, cls.__qualname__
    function.__doc__, function.__module__ = cls.__doc__, cls.__module__
    return function


def with_process_inbox(handler: Handler, runner: Runner) -> Handler:
    """Return the handler of the process with its inbox wrapped."""
    receiver = handler.receiver
    assert receiver is not None
    inbox = ProcessInbox(receiver.inbox, runner)
    return replace(
        handler,
        receiver=replace(receiver, inbox=inbox),
        process_key=runner.definition.key,
        methods=runner.definition.reactions,
    )


def _store_of(inbox: Inbox) -> OpenStore:
    if isinstance(inbox, DjangoInbox):
        from celeriac.process.django_store import django_store

        return django_store
    from celeriac.process.sql_store import sql_store

    return sql_store
