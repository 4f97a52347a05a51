"""`celeriac erase`"""

from __future__ import annotations

import click

from celeriac.cli.dead.choice import reason_option
from celeriac.cli.group import CommandError
from celeriac.cli.session import Session, pass_session
from celeriac.cli.terminal import confirm, echo
from celeriac.cli.user import user_name
from celeriac.dead_letter import erase_subject
from celeriac.security.cached_subject_keys import CACHE_SECONDS, CachedSubjectKeys


@click.command()
@click.argument("subject")
@click.option(
    "-A", "--app", "module", metavar="MODULE", help="Module of an EventBus with subject_keys."
)
@reason_option
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@pass_session
def erase(session: Session, subject: str, module: str | None, reason: str, yes: bool) -> None:
    """Destroy the key of a subject, such as a customer, permanently.

    All data that was encrypted with it is unreadable from then on, wherever it is stored. The
    erasure is recorded, and no key is created for the subject again.
    """
    keys, session = _keys_of(session, module)
    if not yes:
        confirm(f"Make all data of {subject} unreadable permanently?", abort=True)
    erasure = erase_subject(session.backend, keys, subject, actor=user_name(), reason=reason)
    if not erasure.is_new:
        echo(f"{subject} was erased before, at {erasure.at} by {erasure.actor}")
        return
    echo(f"{subject} is erased. Running processes may use the key for up to {CACHE_SECONDS:.0f} s.")


def _keys_of(session: Session, module: str | None) -> tuple[CachedSubjectKeys, Session]:
    """Return the store of the keys, and a session on the bus that uses it."""
    service = session.service
    if module is not None:
        from celeriac.cli.dispatcher import find_bus

        service = find_bus(module).service
        session = Session(service.settings, service.backend)
    if service is None:
        raise click.UsageError("The store of the keys is missing. Pass a bus with -A.")
    keys = service.guard.subject_keys
    if keys is None:
        name = service.settings.service
        raise CommandError(
            f"the bus{f' of {name}' if name else ''} has no subject_keys. Pass the module of a "
            "service that encrypts for subjects with -A."
        )
    return keys, session
