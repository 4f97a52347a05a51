"""Durable workflows of DBOS, started by events and fed with events.

A handler enqueues the workflow, or sends the message, in the transaction of its inbox, which must
be in the system database of DBOS. So each event does it exactly once, or becomes a dead letter.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Protocol

from celeriac.errors import Reject, Retry, SubscriptionError
from celeriac.event import Event, event_key
from celeriac.extra import needing
from celeriac.inbox import DjangoInbox, as_inbox, current_session
from celeriac.process.definition import waiting_policy

WAIT = timedelta(minutes=10)

WorkflowId = Callable[[Event[Any]], str]


class WorkflowNotStarted(Retry):
    """No event has started the workflow yet. The delivery runs again later."""


class Subscribing(Protocol):
    """The part of an EventBus that registers handlers."""

    @property
    def on(self) -> Callable[..., Callable[[Any], Any]]: ...


def start_workflow(
    bus: Subscribing,
    *patterns: str,
    client: Any,
    workflow: str,
    queue: str,
    inbox: Any,
    workflow_id: WorkflowId | None = None,
    **options: Any,
) -> None:
    """Start a workflow with each event of these patterns. Registers a handler.

    The workflow gets the event as a dict: see `workflow_input`. An event whose workflow id is used
    already starts nothing.

    Args:
        client: A `DBOSClient` of the system database.
        workflow: The name of the workflow.
        queue: The queue of DBOS that runs it.
        inbox: A sessionmaker or Engine of SQLAlchemy for the same database (also the async ones).
        workflow_id: Returns the id of the workflow. Default: `workflow/subject`.
        options: Options of `bus.on`. The default of `name` is the name of the workflow.

    Raises:
        SubscriptionError: An option is wrong.
    """

    def enqueue(session: Any, event: Event[Any]) -> None:
        options = {
            "workflow_name": workflow,
            "queue_name": queue,
            "workflow_id": (workflow_id or _by_subject(workflow))(event),
        }
        client.enqueue_in_transaction(session, options, workflow_input(event))

    _subscribe(bus, patterns, inbox, enqueue, {"name": workflow, **options})


def send_to_workflow(
    bus: Subscribing,
    *patterns: str,
    client: Any,
    workflow: str,
    topic: str,
    inbox: Any,
    workflow_id: WorkflowId | None = None,
    wait: float | timedelta = WAIT,
    **options: Any,
) -> None:
    """Send each event of these patterns to a workflow, which reads it with `DBOS.recv(topic)`.

    The message is the event as a dict: see `workflow_input`. Before the workflow has started, the
    event waits.

    Args:
        client: A `DBOSClient` of the system database.
        workflow: The name of the workflow.
        topic: The topic that the workflow waits for.
        inbox: A sessionmaker or Engine of SQLAlchemy for the same database (also the async ones).
        workflow_id: Returns the id of the workflow. Default: `workflow/subject`.
        wait: How long an event waits for the start; then it becomes a dead letter. Seconds or a
            timedelta; default: 10 minutes.
        options: Options of `bus.on`. The default of `name` is `workflow_topic`.

    Raises:
        SubscriptionError: An option is wrong.
    """
    with needing("dbos", "send_to_workflow"):
        from dbos import error as dbos_error

    def send(session: Any, event: Event[Any]) -> None:
        target = (workflow_id or _by_subject(workflow))(event)
        key = f"{target}/{topic}/{event_key(event.id, event.source)}"
        try:
            client.send_in_transaction(session, target, workflow_input(event), topic, key)
        except dbos_error.DBOSNonExistentWorkflowError:
            raise WorkflowNotStarted(
                f"workflow {target} has not started. Emit the event that starts it, then redrive "
                "this delivery"
            ) from None

    seconds = wait.total_seconds() if isinstance(wait, timedelta) else wait
    on_error = {
        WorkflowNotStarted: waiting_policy(seconds),
        **(options.pop("on_error", None) or {}),
    }
    defaults = {"name": f"{workflow}_{topic}", "on_error": on_error}
    _subscribe(bus, patterns, inbox, send, {**defaults, **options})


def workflow_input(event: Event[Any]) -> dict[str, Any]:
    """Return the event as a workflow gets it: plain values, the time in ISO 8601."""
    return {
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "subject": event.subject,
        "time": event.time.isoformat() if event.time is not None else None,
        "data": event.data,
    }


def _by_subject(workflow: str) -> WorkflowId:
    def workflow_id(event: Event[Any]) -> str:
        if not event.subject:
            raise Reject(
                f"{event.type} {event.id} has no subject, which names the workflow. Emit it with "
                "one, or give workflow_id="
            )
        return f"{workflow}/{event.subject}"

    return workflow_id


def _subscribe(
    bus: Subscribing,
    patterns: tuple[str, ...],
    inbox: Any,
    write: Callable[[Any, Event[Any]], None],
    options: dict[str, Any],
) -> None:
    opened = as_inbox(inbox)
    if isinstance(opened, DjangoInbox):
        raise SubscriptionError(
            f"handler {options['name']}: DBOS writes through SQLAlchemy. Give inbox= a "
            "sessionmaker or an Engine for its system database"
        )

    def handle(event: Event[Any]) -> None:
        write(current_session(), event)

    async def handle_async(event: Event[Any]) -> None:
        await current_session().run_sync(write, event)

    function: Any = handle_async if opened.is_async else handle
    bus.on(*patterns, inbox=inbox, **options)(function)
