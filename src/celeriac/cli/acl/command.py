"""celeriac acl"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import click

from celeriac.cli.acl.rules import ANY_DOMAIN, Part, check_name, operator_rules, rules
from celeriac.cli.dispatcher import find_bus
from celeriac.cli.session import Session, pass_session
from celeriac.cli.terminal import confirm, echo
from celeriac.errors import ConfigurationError, NotFound
from celeriac.event import compile_patterns
from celeriac.event.attributes import type_fault
from celeriac.settings import Settings
from celeriac.store.redis.keys import Keys

FORMATS = {"setuser": "ACL SETUSER {} reset on #{} {}", "aclfile": "user {} reset on #{} {}"}
# Option of kombu's Redis transport → the key it stands for by default.
UNACKED = {
    "unacked_key": "unacked",
    "unacked_index_key": "unacked_index",
    "unacked_mutex_key": "unacked_mutex",
}


@click.command()
@click.option("--service", metavar="NAME", help="A service whose handlers are registered.")
@click.option("-A", "--app", "module", metavar="MODULE", help="Or one by its EventBus.")
@click.option("--operator", metavar="NAME", help="Or a user for people: this command, Flower.")
@click.option("--emits", metavar="DOMAINS", default="", help="It may emit: order,payment.")
@click.option("--promote", is_flag=True, help="Also moves postponed events where it only reads.")
@click.option("--yes", is_flag=True, help="With --service: do not ask whether it is right.")
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
    yes: bool,
    password: str | None,
    form: str,
) -> None:
    """Prints the Redis user of a service: it emits its own types and reads its own groups.

    The user is called as the service is. Needs Redis 7.0 or Valkey 7.2, for selectors.
    """
    if sum(map(bool, (service, module, operator))) != 1:
        raise click.UsageError("say for whom: --service, -A or --operator")
    if operator:
        check_name("operator", operator)
        name, found = operator, operator_rules(Keys(session.settings.namespace))
    else:
        settings, part, prefix = _by_bus(module) if module else _by_registry(session, service or "")
        emitted = {*part.emits, *_domains(emits)}
        part = replace(part, emits=emitted, promotes=promote, bounded=bool(settings.max_backlog))
        name, found = part.service, rules(part, Keys(settings.namespace), queue_prefix=prefix)
        if not module:
            _confirm(part, yes=yes)
    if password is None:
        password = secrets.token_urlsafe(24)
        echo(f"# password of {name}: {password}", err=True)
    digest = hashlib.sha256(password.encode()).hexdigest()
    shown = (_quoted(rule) if form == "setuser" else rule for rule in found)
    echo(FORMATS[form].format(name, digest, " ".join(shown)))


def _by_bus(module: str) -> tuple[Settings, Part, str]:
    from celeriac.worker.broker import broker_url

    bus = find_bus(module)
    handlers = bus.service.handlers.values()
    declared = {type.partition(".")[0] for type in bus.emitter.schemas}
    emits = {*declared, *_domains(bus.settings.emitted_domains)}
    patterns = [pattern for handler in handlers for pattern in handler.patterns]
    options: Mapping[str, Any] = bus.app.conf.broker_transport_options or {}
    broker = broker_url(bus.app)
    part = Part(
        service=bus.settings.service,
        reads=_reached(patterns),
        emits=emits,
        queues={handler.queue for handler in handlers},
        acks=_acks(options) if handlers and broker.startswith(("redis", "sentinel")) else (),
    )
    return bus.settings, part, str(options.get("global_keyprefix", ""))


def _acks(options: Mapping[str, Any]) -> list[str]:
    """The keys in which kombu keeps what was not acknowledged, where the app has some of its own.

    Raises ConfigurationError where it shares them: whoever may write there can make other apps run
    any task."""
    if options.get("ack_emulation") is False:
        return []
    names = [str(options.get(option, usual)) for option, usual in UNACKED.items()]
    if not options.get("global_keyprefix") and set(names) & set(UNACKED.values()):
        raise ConfigurationError(
            "broker_transport_options keep kombu's keys unacked, unacked_index and unacked_mutex, "
            "which hold the messages of every app on that Redis, so they are not granted. Set "
            "ack_emulation to False, or give the app its own: "
            + ", ".join(f"{option}='<service>.{usual}'" for option, usual in UNACKED.items())
        )
    return names


def _by_registry(session: Session, service: str) -> tuple[Settings, Part, str]:
    records = [r for r in session.backend.registry.handlers().values() if r.service == service]
    if not records:
        raise NotFound(
            f"no handler of {service} is registered; for a service that never ran, give its "
            "module with -A"
        )
    patterns = [pattern for record in records for pattern in record.patterns]
    queues = {record.queue for record in records}
    part = Part(service=service, reads=_reached(patterns), queues=queues)
    return session.settings, part, _prefix(session.settings)


def _confirm(part: Part, *, yes: bool) -> None:
    """Every service can write the registry, so a person decides whether it is right."""
    echo(
        f"# from the registry, which every service can write: {part.service} reads "
        f"{', '.join(sorted(part.reads))} and has the queues {', '.join(sorted(part.queues))}; "
        "-A takes them from the code",
        err=True,
    )
    if not yes:
        confirm("# grant that?", err=True, abort=True)


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
