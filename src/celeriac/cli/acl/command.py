"""`celeriac acl`"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import click

from celeriac import archive
from celeriac.cli.acl.rules import ANY_DOMAIN, ServiceAccess, check_name, operator_rules, rules
from celeriac.cli.dispatcher import find_bus
from celeriac.cli.session import Session, pass_session
from celeriac.cli.terminal import confirm, echo
from celeriac.errors import ConfigurationError, NotFound
from celeriac.event import compile_patterns
from celeriac.event.attributes import type_fault
from celeriac.settings import Settings
from celeriac.store.redis.keys import Keys

FORMATS = {"setuser": "ACL SETUSER {} reset on #{} {}", "aclfile": "user {} reset on #{} {}"}
# Option of kombu's Redis transport → the default of its key.
UNACKED = {
    "unacked_key": "unacked",
    "unacked_index_key": "unacked_index",
    "unacked_mutex_key": "unacked_mutex",
}


@click.command()
@click.option("--service", metavar="NAME", help="Service with registered handlers.")
@click.option(
    "-A", "--app", "module", metavar="MODULE", help="Module of the EventBus of a service."
)
@click.option("--operator", metavar="NAME", help="Name of a user for this command and Flower.")
@click.option("--gateway", metavar="NAME", help="Name of a user for a gateway: see --pulls.")
@click.option(
    "--pulls", metavar="SERVICES", default="", help="Services whose handlers a gateway serves."
)
@click.option(
    "--reads", metavar="DOMAINS", default="", help="Domains of these handlers, or * for all."
)
@click.option(
    "--emits", metavar="DOMAINS", default="", help="Domains that it may emit to: order,payment."
)
@click.option(
    "--enqueue-due", is_flag=True, help="May append due delayed events to domains it reads."
)
@click.option("--yes", is_flag=True, help="With --service: do not ask for confirmation.")
@click.option("--password", metavar="TEXT", help="[default: a new one, printed on standard error]")
@click.option(
    "--format", "form", type=click.Choice(sorted(FORMATS)), default="setuser", show_default=True
)
@pass_session
def acl(
    session: Session,
    service: str | None,
    module: str | None,
    operator: str | None,
    gateway: str | None,
    pulls: str,
    reads: str,
    emits: str,
    enqueue_due: bool,
    yes: bool,
    password: str | None,
    form: str,
) -> None:
    """Print the Redis user of a service: it emits its own types and reads its own groups.

    The user has the name of the service. A gateway serves the handlers of other services. Needs
    Redis 7.0 or Valkey 7.2, for selectors.
    """
    if sum(map(bool, (service, module, operator, gateway))) != 1:
        raise click.UsageError(
            "The user is missing. Pass one of --service, -A, --gateway or --operator."
        )
    if (pulls or reads) and not gateway:
        raise click.UsageError("--pulls and --reads are for a gateway. Pass --gateway NAME.")
    if operator:
        check_name("operator", operator)
        name, granted = operator, operator_rules(Keys(session.settings.namespace))
    else:
        if gateway:
            settings, part, prefix = _of_gateway(session, gateway, pulls, reads)
        elif module:
            settings, part, prefix = _by_bus(module)
        else:
            settings, part, prefix = _by_registry(session, service or "")
        emitted = {*part.emits, *_domains(emits)}
        part = replace(
            part, emits=emitted, enqueues_due=enqueue_due, bounded=bool(settings.max_backlog)
        )
        name, granted = part.service, rules(part, Keys(settings.namespace), queue_prefix=prefix)
        if service and service != archive.SERVICE:
            _confirm(part, yes=yes)
    if password is None:
        password = secrets.token_urlsafe(24)
        echo(f"# password of {name}: {password}", err=True)
    digest = hashlib.sha256(password.encode()).hexdigest()
    shown = (_quoted(rule) if form == "setuser" else rule for rule in granted)
    echo(FORMATS[form].format(name, digest, " ".join(shown)))


def _by_bus(module: str) -> tuple[Settings, ServiceAccess, str]:
    from celeriac.worker.broker import broker_url

    bus = find_bus(module)
    handlers = bus.service.handlers.values()
    declared = {type.partition(".")[0] for type in bus.emitter.schemas}
    declared |= {each.schedule.domain for each in bus.service.schedules.values()}
    emits = {*declared, *_domains(bus.settings.emitted_domains)}
    patterns = [pattern for handler in handlers for pattern in handler.patterns]
    patterns += [p for handler in bus.service.broadcasts.values() for p in handler.patterns]
    options: Mapping[str, Any] = bus.app.conf.broker_transport_options or {}
    broker = broker_url(bus.app)
    part = ServiceAccess(
        service=bus.settings.service,
        reads=_reached(patterns),
        emits=emits,
        queues={handler.queue for handler in handlers},
        acks=_acks(options) if handlers and broker.startswith(("redis", "sentinel")) else (),
    )
    return bus.settings, part, str(options.get("global_keyprefix", ""))


def _acks(options: Mapping[str, Any]) -> list[str]:
    """Return kombu's keys for unacknowledged messages, if the app has its own.

    Raises ConfigurationError if the app shares them: a service that can write to shared keys can
    make other apps run any task.
    """
    if options.get("ack_emulation") is False:
        return []
    names = [str(options.get(option, usual)) for option, usual in UNACKED.items()]
    if not options.get("global_keyprefix") and set(names) & set(UNACKED.values()):
        raise ConfigurationError(
            "broker_transport_options has the shared keys unacked, unacked_index and "
            "unacked_mutex, which hold the messages of every app on that Redis. Access to them is "
            "not granted. Set ack_emulation to False, or set keys for this app: "
            + ", ".join(f"{option}='<service>.{usual}'" for option, usual in UNACKED.items())
        )
    return names


def _by_registry(session: Session, service: str) -> tuple[Settings, ServiceAccess, str]:
    if service == archive.SERVICE:
        # Its handlers are known without the registry.
        part = ServiceAccess(service=service, reads={ANY_DOMAIN}, queues={service})
        return session.settings, part, _prefix(session.settings)
    records = [r for r in session.backend.registry.handlers().values() if r.service == service]
    if not records:
        raise NotFound(
            f"no handler of this service is registered: {service}. If it has never run, pass its "
            "module with -A."
        )
    patterns = [pattern for record in records for pattern in record.patterns]
    queues = {record.queue for record in records}
    part = ServiceAccess(service=service, reads=_reached(patterns), queues=queues)
    return session.settings, part, _prefix(session.settings)


def _of_gateway(
    session: Session, name: str, pulls: str, reads: str
) -> tuple[Settings, ServiceAccess, str]:
    """Return the access of a gateway: its handlers register later, so it is given."""
    domains = {ANY_DOMAIN} if reads.strip() == ANY_DOMAIN else {*_domains(reads, "--reads")}
    services = {service for service in map(str.strip, pulls.split(",")) if service}
    if domains and not services:
        raise click.UsageError("--pulls is missing: name the services whose handlers read these.")
    return session.settings, ServiceAccess(service=name, reads=domains, pulls=services), ""


def _confirm(part: ServiceAccess, *, yes: bool) -> None:
    """Ask for confirmation, because every service can write the registry."""
    echo(
        f"# from the registry, which every service can write: {part.service} reads "
        f"{', '.join(sorted(part.reads))} and has the queues {', '.join(sorted(part.queues))}; "
        "-A reads them from the code",
        err=True,
    )
    if not yes:
        confirm("# grant this?", err=True, abort=True)


def _reached(patterns: list[str]) -> set[str]:
    domains = compile_patterns(*patterns).domains if patterns else frozenset()
    return {ANY_DOMAIN} if domains is None else set(domains)


def _domains(given: str, option: str = "--emits") -> Iterable[str]:
    for name in filter(None, map(str.strip, given.split(","))):
        if type_fault(name) or "." in name:
            raise click.BadParameter(
                f"domain is invalid: {name!r}. Write names like order,payment.",
                param_hint=option,
            )
        yield name


def _prefix(settings: Settings) -> str:
    """Return `global_keyprefix` as worker/app.py sets it."""
    return "" if settings.namespace == Settings().namespace else f"{settings.namespace}:"


def _quoted(rule: str) -> str:
    """Quote a rule for redis-cli, which needs quotes around a selector with spaces."""
    return f'"{rule}"' if " " in rule or "\\" in rule else rule
