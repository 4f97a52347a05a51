"""The tokens, webhooks and limits of `celeriac gateway`, from a TOML file."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

from celeriac.errors import ConfigurationError
from celeriac.gateway.hook import GitHub, Hook, Slack, StandardWebhooks, Stripe
from celeriac.gateway.limits import Limits
from celeriac.gateway.token import Token

_POSITION = re.compile(r"\(at (line \d+, column \d+|end of document)\)\Z")
PRESETS: Mapping[str, Callable[..., Hook]] = {
    "stripe": Stripe,
    "github": GitHub,
    "slack": Slack,
    "standard": StandardWebhooks,
}


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """The arguments of `gateway` that a file has."""

    tokens: tuple[Token, ...] = ()
    hooks: Mapping[str, Hook] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)


def read_config(path: Path, environ: Mapping[str, str] | None = None) -> GatewayConfig:
    """Return the configuration in a file.

    A secret is a text, `{ env = "NAME" }`, `{ file = "PATH" }`, or a list of these. Secrets are
    read once. Raises ConfigurationError, which names the file and the table, without a secret.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise ConfigurationError(f"{path}: cannot be read: {reason}. Check --config") from None
    except tomllib.TOMLDecodeError as error:
        # The rest of the message may quote the line, which may have a secret.
        position = _POSITION.search(str(error))
        where = f" {position[0]}" if position else ""
        raise ConfigurationError(f"{path}: is not valid TOML{where}. Check its syntax") from None
    _check_names(document, ("tokens", "hooks", "limits"), str(path))
    environ = os.environ if environ is None else environ
    tokens, hooks = _tables(document, "tokens", path), _tables(document, "hooks", path)
    limits = document.get("limits", {})
    return GatewayConfig(
        tuple(
            _made(partial(Token, name), table, where, environ)
            for name, (where, table) in tokens.items()
        ),
        {name: _hook(table, where, environ) for name, (where, table) in hooks.items()},
        _made(Limits, limits, f"{path}: [limits]", environ),
    )


def _hook(table: Mapping[str, Any], where: str, environ: Mapping[str, str]) -> Hook:
    given = dict(table)
    preset = PRESETS.get(str(given.pop("preset", None)))
    if preset is None:
        raise ConfigurationError(f"{where}: preset must be one of {', '.join(PRESETS)}")
    hook: Hook = _made(preset, given, where, environ)
    return hook


def _made(make: Callable[..., Any], given: Any, where: str, environ: Mapping[str, str]) -> Any:
    if not isinstance(given, Mapping):
        raise ConfigurationError(f"{where}: must be a table")
    options = dict(given)
    if "secret" in options:
        options["secret"] = _secret(options["secret"], where, environ)
    _check_names(options, tuple(signature(make).parameters), where, "options")
    try:
        return make(**options)
    except TypeError as error:
        # Names the argument that is missing, and no value.
        reason = str(error).partition("() ")[2] or str(error)
        raise ConfigurationError(f"{where}: {reason}") from None
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from None


def _secret(given: Any, where: str, environ: Mapping[str, str]) -> Any:
    if isinstance(given, list):
        return [_secret(each, where, environ) for each in given]
    if not isinstance(given, Mapping):
        return given
    match dict(given):
        case {"env": str(name), **rest} if not rest:
            if name in environ:
                return environ[name]
            raise ConfigurationError(f"{where}: the variable {name} is not set. Set it to a secret")
        case {"file": str(name), **rest} if not rest:
            try:
                return Path(name).read_text().strip()
            except (OSError, UnicodeError):
                raise ConfigurationError(
                    f"{where}: the secret in {name} cannot be read. Check the path and its mode"
                ) from None
    raise ConfigurationError(
        f'{where}: secret must be a text, {{ env = "NAME" }} or {{ file = "PATH" }}'
    )


def _tables(
    document: Mapping[str, Any], kind: str, path: Path
) -> dict[str, tuple[str, Mapping[str, Any]]]:
    tables = document.get(kind, {})
    if not isinstance(tables, Mapping) or not all(isinstance(t, Mapping) for t in tables.values()):
        raise ConfigurationError(f"{path}: {kind} must be tables, such as [{kind}.partner]")
    return {name: (f"{path}: [{kind}.{name}]", table) for name, table in tables.items()}


def _check_names(
    document: Mapping[str, Any], known: tuple[str, ...], where: str, kind: str = "tables"
) -> None:
    if unknown := sorted(document.keys() - {*known}):
        raise ConfigurationError(
            f"{where}: there is no {unknown[0]!r}. The {kind} are {', '.join(known)}"
        )
