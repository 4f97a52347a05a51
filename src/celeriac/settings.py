"""Settings of one service: read from the environment, checked all at once, then frozen."""

from __future__ import annotations

import logging
import math
import os
import re
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from typing import Any

from celeriac.errors import ConfigurationError
from celeriac.redis_url import is_cluster, url_faults
from celeriac.tenant import tenant_names, tenants_fault

VERSION = "0.1.0"
MAX_DELIVERIES_PER_TASK = 10_000
MAX_METRICS_TENANTS = 100
DAY = 24 * 3600.0
logger = logging.getLogger(__name__)
_ignored: set[str] = set()  # variables already logged in this process
_SERVICE_PORT = re.compile(r"(tcp|udp|sctp)://")
SERVICE = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one service. Times are in seconds.

    A field that is not given is read from `CELERIAC_<NAME>`.

    `retention` and `retention_count` limit how much of a domain's event log is kept. An event that
    a handler has not completed is never trimmed. The matrix keeps a row for `dedup_window` at least
    and for twice `dedup_window` at most; during this time, the same source and event id are one
    event. `sensitive` is a comma-separated list of data members that are masked everywhere. Keys
    are JSON Web Keys, or the path of a file or directory with keys. `emitted_domains` is a
    comma-separated list of domains whose delayed events the workers of this service enqueue, in
    addition to the domains that they read. `tenants` is a comma-separated list of the tenants whose
    events the service may emit; empty means all. `outbox_url` is the database whose outbox the
    workers relay; with `outbox_fsync`, rows stay until Redis has the published events on disk.
    `metrics_tenants` is a comma-separated list of the tenants that metrics count each.
    """

    # Not shown, because URLs may contain a password.
    redis_url: str = field(default="redis://127.0.0.1:6379/0", repr=False)
    broker_url: str = field(default="", repr=False)
    service: str = ""
    source: str = ""
    namespace: str = "celeriac"
    sensitive: str = ""
    signing_key: str = field(default="", repr=False)
    trusted_keys: str = ""
    encryption_key: str = field(default="", repr=False)
    require_signature: bool = False
    emitted_domains: str = ""
    tenants: str = ""
    # Not shown, because the URL may contain a password.
    outbox_url: str = field(default="", repr=False)
    outbox_fsync: bool = False

    emit_timeout: float = 5.0
    max_event_bytes: int = 1_048_576

    lease: float = 30.0
    chunk_time: float = 0.05
    max_chunk: int = 1000
    prefetch: int = 2
    reserved_processes: int = 1

    retention: float = 7 * DAY
    retention_count: int = 1_000_000
    dedup_window: float = 3 * DAY
    dead_retention: float = 90 * DAY
    max_dead_letters: int = 100_000

    max_backlog: int = 0
    log_full: str = "block"
    max_domains: int = 5_000

    spool: str = ""
    spool_max_bytes: int = 268_435_456

    log_format: str = ""
    tracing: str = "off"
    metrics_port: int = 0
    metrics_address: str = "127.0.0.1"
    metrics_tenants: str = ""

    # The names of the settings that do not have their default; not a setting.
    given: frozenset[str] = field(default=frozenset(), repr=False, compare=False)

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None, **given: Any) -> Settings:
        """Return validated settings from, in this order: `given`, the environment, Django's
        settings (if `celeriac.contrib.django` is installed), the defaults.

        Raises ConfigurationError, which lists every fault.
        """
        django = _of_django() if environ is None else {}
        environ = os.environ if environ is None else environ
        values: dict[str, Any] = {}
        faults: list[str] = []
        known = {setting.name: setting for setting in fields(cls) if setting.name != "given"}
        for name in (given.keys() | django.keys()) - known.keys():
            close = get_close_matches(name, known, n=1)
            closest = f"Did you mean {close[0]}? " if close else ""
            names = ", ".join(sorted(known))
            faults.append(f"{name}: no such setting. {closest}The settings are {names}")
        _warn_of_misspelt(environ, known)
        for name, setting in known.items():
            value = given.get(name)
            variable = f"CELERIAC_{name.upper()}"
            if value is None and environ.get(variable, "") != "":
                value = environ[variable]
                if _is_of_kubernetes(variable, value):
                    value = None
            if value is None:
                value = django.get(name)
            if value is None:
                continue
            try:
                values[name] = _convert(value, type(setting.default))
            except ValueError as error:
                faults.append(f"{variable}={value!r}: {error}")
        if not faults:
            settings = cls(**values, given=frozenset(values))
            faults = list(settings._faults())
            if not faults:
                return settings._completed()
        raise ConfigurationError(
            "celeriac cannot start. Correct these settings:\n  " + "\n  ".join(faults)
        )

    @property
    def sensitive_names(self) -> frozenset[str]:
        """The names in `sensitive`."""
        return frozenset(filter(None, map(str.strip, self.sensitive.split(","))))

    @property
    def emitted_domain_names(self) -> frozenset[str]:
        """The names in `emitted_domains`."""
        return frozenset(filter(None, map(str.strip, self.emitted_domains.split(","))))

    @property
    def tenant_names(self) -> tuple[str, ...]:
        """The names in `tenants`, in their order."""
        return tenant_names(self.tenants)

    @property
    def metrics_tenant_names(self) -> tuple[str, ...]:
        """The names in `metrics_tenants`, in their order."""
        return tenant_names(self.metrics_tenants)

    def differing(self, other: Settings) -> list[str]:
        """Return the names of the settings that differ, for display.

        Each has both values, except for settings that may contain a password.
        """
        differences = []
        for setting in fields(self):
            values = getattr(self, setting.name), getattr(other, setting.name)
            if setting.compare and values[0] != values[1]:
                shown = f" ({values[0]!r} and {values[1]!r})" if setting.repr else ""
                differences.append(f"{setting.name}{shown}")
        return differences

    def _faults(self) -> list[str]:
        faults = []
        faults += [f"CELERIAC_REDIS_URL {fault}" for fault in url_faults(self.redis_url)]
        if self.service and not SERVICE.fullmatch(self.service):
            faults.append(
                f"CELERIAC_SERVICE={self.service!r}: may have letters, digits, _ and - only, e.g. "
                "'billing'; it is the first part of each handler's id and the name of the queue"
            )
        if not re.fullmatch(r"[A-Za-z0-9_.:-]+", self.namespace):
            faults.append(
                f"CELERIAC_NAMESPACE={self.namespace!r}: may have letters, digits and _ . : - only"
            )
        if fault := tenants_fault(self.tenant_names):
            faults.append(f"CELERIAC_TENANTS={self.tenants!r}: {fault}")
        if fault := tenants_fault(self.metrics_tenant_names) or self._metrics_fault():
            faults.append(f"CELERIAC_METRICS_TENANTS={self.metrics_tenants!r}: {fault}")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                known = ", ".join(choice for choice in choices if choice)
                faults.append(
                    f"CELERIAC_{name.upper()}={getattr(self, name)!r}: must be one of {known}"
                )
        if self.max_chunk > MAX_DELIVERIES_PER_TASK:
            faults.append(
                f"CELERIAC_MAX_CHUNK={self.max_chunk}: must be at most {MAX_DELIVERIES_PER_TASK}"
            )
        for name, minimum in _MINIMUM.items():
            value = getattr(self, name)
            if not minimum <= value < math.inf:
                faults.append(
                    f"CELERIAC_{name.upper()}={value}: must be finite and at least {minimum}"
                )
        return faults

    def _metrics_fault(self) -> str:
        if "other" in self.metrics_tenant_names:
            return "'other' is the label of all tenants that have none. Leave it out"
        if len(self.metrics_tenant_names) > MAX_METRICS_TENANTS:
            return f"must have at most {MAX_METRICS_TENANTS} names; each has its own series"
        return ""

    def _completed(self) -> Settings:
        return replace(
            self,
            broker_url=self.broker_url or _broker_from(self.redis_url),
            source=self.source or self.service or socket.gethostname(),
        )


# Settings that all services of a bus share: see `bus_settings`.
BUS_WIDE = (
    "retention", "retention_count", "dedup_window", "dead_retention", "max_dead_letters",
    "max_backlog", "max_domains",
)  # fmt: skip

_MINIMUM: dict[str, float] = {
    "metrics_port": 0,
    "emit_timeout": 0.01,
    "max_event_bytes": 256,
    "lease": 0.5,
    "chunk_time": 0.001,
    "max_chunk": 1,
    "prefetch": 1,
    "reserved_processes": 0,
    "retention": 1,
    "retention_count": 0,
    "dedup_window": 1,
    "dead_retention": 1,
    "max_dead_letters": 1,
    "max_backlog": 0,
    "max_domains": 0,
    "spool_max_bytes": 65_536,
}


_CHOICES: dict[str, tuple[str, ...]] = {
    "log_full": ("block", "raise"),
    "log_format": ("", "json", "keyvalue"),
    "tracing": ("off", "on", "linked"),
}


def parse_number(name: str, text: str) -> int | float:
    """Return the value of a numeric setting from its text.

    Raises ValueError, which states what the value must be.
    """
    kind = next(type(setting.default) for setting in fields(Settings) if setting.name == name)
    value: int | float = _convert(text, kind)
    if not _MINIMUM[name] <= value < math.inf:
        raise ValueError(f"must be finite and at least {_MINIMUM[name]}")
    return value


def _of_django() -> Mapping[str, Any]:
    """Return `CELERIAC` and `CELERIAC_*` of Django's settings.

    Empty unless this process uses Django with `celeriac.contrib.django` installed. By default its
    workers relay the outbox of the default database.
    """
    conf: Any = sys.modules.get("django.conf")
    if conf is None:
        return {}
    django = conf.settings
    if not (django.configured or os.environ.get("DJANGO_SETTINGS_MODULE")):
        return {}
    if not any(app.startswith("celeriac.contrib.django") for app in django.INSTALLED_APPS):
        return {}
    values: dict[str, Any] = {"outbox_url": "django:default"}
    values |= {name.lower(): value for name, value in getattr(django, "CELERIAC", {}).items()}
    for name in dir(django):
        if name.startswith("CELERIAC_"):
            values[name.removeprefix("CELERIAC_").lower()] = getattr(django, name)
    return values


def _warn_of_misspelt(environ: Mapping[str, str], known: Mapping[str, Any]) -> None:
    """Log a WARNING, once, for each variable whose name is almost that of a setting.

    Others may belong to something else: Kubernetes sets CELERIAC_SERVICE_HOST and the like.
    """
    for variable in environ.keys() - _ignored:
        name = variable.removeprefix("CELERIAC_").lower()
        if name == variable.lower() or name in known or re.search(r"(^|_)(port|service_)", name):
            continue
        if close := get_close_matches(name, known, n=1, cutoff=0.75):
            _ignored.add(variable)
            logger.warning(
                "celeriac: %s is ignored: there is no such setting. Did you mean CELERIAC_%s?",
                variable,
                close[0].upper(),
            )


def _is_of_kubernetes(variable: str, value: str) -> bool:
    """Return whether Kubernetes set the variable, for a Service called `celeriac-…`."""
    if not (variable.endswith("_PORT") and _SERVICE_PORT.match(value)):
        return False
    if variable not in _ignored:
        _ignored.add(variable)
        logger.info(
            "celeriac: %s=%s is ignored, because Kubernetes sets it for a Service of that name. "
            "Set enableServiceLinks: false in the pod's specification to remove it",
            variable,
            value,
        )
    return True


def _convert(value: Any, kind: type) -> Any:
    if kind is str:
        return str(value)
    if kind is bool:
        return _convert_switch(value)
    try:
        return kind(value)
    except (TypeError, ValueError):
        wanted = "a whole number" if kind is int else "a number of seconds"
        raise ValueError(f"must be {wanted}") from None


def _convert_switch(value: Any) -> bool:
    switches = {"1": True, "true": True, "yes": True, "on": True}
    switches |= {"0": False, "false": False, "no": False, "off": False}
    try:
        return switches[str(value).strip().lower()]
    except KeyError:
        raise ValueError("must be true or false") from None


def _broker_from(redis_url: str) -> str:
    """Return the broker URL for a Redis URL; empty for a cluster, which cannot be a broker."""
    if is_cluster(redis_url):
        return ""
    if redis_url.startswith("unix://"):
        return "redis+socket://" + redis_url.removeprefix("unix://")
    return redis_url
