"""celeriac acl"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable

import click

from celeriac.cli.acl.rules import ANY_DOMAIN, Part, operator_rules, rules
from celeriac.cli.dispatcher import find_bus
from celeriac.cli.session import Session, pass_session
from celeriac.errors import NotFound
from celeriac.event import compile_patterns
from celeriac.event.attributes import type_fault
from celeriac.keys import Keys
from celeriac.settings import Settings

FORMATS = {"setuser": "ACL SETUSER {} reset on #{} {}", "aclfile": "user {} reset on #{} {}"}


@click.command()
@click.option("--service", metavar="NAME", help="A service whose handlers are registered.")
@click.option("-A", "--app", "module", metavar="MODULE", help="Or one by its EventBus.")
@click.option("--operator", metavar="NAME", help="Or a user for people: this command, Flower.")
@click.option("--emits", metavar="DOMAINS", default="", help="It may emit: order,payment.")
@click.option("--promote", is_flag=True, help="Also moves postponed events where it only reads.")
@click.option("--password", metavar="TEXT", help="[default: a new one, told on standard error]")
@click.option(
    "--format", "form", type=click.Choice(sorted(FORMATS)), default="setuser", show_default=True
)
@pass_session
def acl(
    session: Session,
    service: str | None,
    module: str | None,
    operator: str | None,
    emits: str,
    promote: bool,
    password: str | None,
    form: str,
) -> None:
    """Prints the Redis user of a service: it emits its own types and reads its own groups.

    The user is called as the service is. Needs Redis 7.0 or Valkey 7.2, for selectors.
    """
    if sum(map(bool, (service, module, operator))) != 1:
        raise click.UsageError("say for whom: --service, -A or --operator")
    if operator:
        name, found = operator, operator_rules(Keys(session.settings.namespace))
    else:
        settings, part = _by_bus(module) if module else _by_registry(session, service or "")
        emitted = {*part.emits, *_domains(emits)}
        part = Part(
            service=part.service, reads=part.reads, emits=emitted, queues=part.queues,
            promotes=promote,
        )  # fmt: skip
        name, found = (
            part.service,
            rules(part, Keys(settings.namespace), queue_prefix=_prefix(settings)),
        )
    if password is None:
        password = secrets.token_urlsafe(24)
        click.echo(f"# password of {name}: {password}", err=True)
    digest = hashlib.sha256(password.encode()).hexdigest()
    shown = (_quoted(rule) if form == "setuser" else rule for rule in found)
    click.echo(FORMATS[form].format(name, digest, " ".join(shown)))


def _by_bus(module: str) -> tuple[Settings, Part]:
    bus = find_bus(module)
    handlers = bus.service.handlers.values()
    declared = {type.partition(".")[0] for type in bus.emitter.schemas}
    emits = {*declared, *_domains(bus.settings.emits)}
    patterns = [pattern for handler in handlers for pattern in handler.patterns]
    part = Part(
        service=bus.settings.service,
        reads=_reached(patterns),
        emits=emits,
        queues={handler.queue for handler in handlers},
    )
    return bus.settings, part


def _by_registry(session: Session, service: str) -> tuple[Settings, Part]:
    records = [r for r in session.backend.registry.handlers().values() if r.service == service]
    if not records:
        raise NotFound(
            f"no handler of {service} is registered; for a service that never ran, give its "
            "module with -A"
        )
    patterns = [pattern for record in records for pattern in record.patterns]
    queues = {record.queue for record in records}
    return session.settings, Part(service=service, reads=_reached(patterns), queues=queues)


def _reached(patterns: list[str]) -> set[str]:
    domains = compile_patterns(*patterns).domains if patterns else frozenset()
    return {ANY_DOMAIN} if domains is None else set(domains)


def _domains(given: str) -> Iterable[str]:
    for name in filter(None, map(str.strip, given.split(","))):
        if type_fault(name) or "." in name:
            raise click.BadParameter(f"{name!r} is no domain, as order is", param_hint="--emits")
        yield name


def _prefix(settings: Settings) -> str:
    """As worker/app.py sets `global_keyprefix`."""
    return "" if settings.namespace == Settings().namespace else f"{settings.namespace}:"


def _quoted(rule: str) -> str:
    """For redis-cli, which takes a selector with spaces in quotes."""
    return f'"{rule}"' if " " in rule or "\\" in rule else rule
