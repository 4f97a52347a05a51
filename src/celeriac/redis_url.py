"""Parsing of Redis URLs: the server, cluster or Sentinels, and the options. Pure.

It does not use urlsplit, because patch releases of Python differ in the lists of nodes they accept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode

from celeriac.errors import ConfigurationError

Node = tuple[str, int]  # host, port

CLUSTER, SENTINEL = "+cluster", "+sentinel"
SCHEMES = (
    "redis://",
    "rediss://",
    "unix://",
    "redis+cluster://",
    "rediss+cluster://",
    "redis+sentinel://",
    "rediss+sentinel://",
)
REDIS_PORT, SENTINEL_PORT = 6379, 26379
_YES, _NO = {"1", "true", "yes", "on"}, {"0", "false", "no", "off"}
_SECRET = re.compile(r"(?i)([?&][\w.-]*(?:password|passwd|passphrase|secret|token)[\w.-]*=)[^&#]*")


def switch(text: str) -> bool:
    """Return the bool of 1/0, true/false, yes/no, on/off. Raises ValueError."""
    if text.lower() in _YES:
        return True
    if text.lower() in _NO:
        return False
    raise ValueError("must be true or false")


# The options after the `?`, and how their values are parsed.
OPTIONS: dict[str, Callable[[str], Any]] = {
    "cluster": switch,
    "db": int,
    "username": str,
    "password": str,
    "client_name": str,
    "protocol": int,
    "max_connections": int,
    "health_check_interval": int,
    "socket_timeout": float,
    "socket_connect_timeout": float,
    "socket_keepalive": switch,
    "ssl_ca_certs": str,
    "ssl_ca_data": str,
    "ssl_ca_path": str,
    "ssl_cert_reqs": str,
    "ssl_certfile": str,
    "ssl_check_hostname": switch,
    "ssl_ciphers": str,
    "ssl_keyfile": str,
    "ssl_min_version": int,
    "ssl_password": str,
    "sentinel_username": str,
    "sentinel_password": str,
}


@dataclass(frozen=True, slots=True)
class URLParts:
    """The parts of a URL, still encoded. `hosts` may list several nodes."""

    scheme: str
    login: str = field(repr=False)
    hosts: str
    path: str
    query: str = field(repr=False)
    fragment: str = field(repr=False)


def split_url(url: str) -> URLParts:
    """Return the parts of any text as far as it is a URL. Never raises."""
    scheme, _, rest = url.partition("://")
    rest, _, fragment = rest.partition("#")
    rest, _, query = rest.partition("?")
    authority, slash, path = rest.partition("/")
    login, _, hosts = authority.rpartition("@")
    return URLParts(scheme, login, hosts, slash + path, query, fragment)


def address(url: str) -> str:
    """Return the URL, or list of URLs, with passwords masked, for messages."""
    return "".join(map(_masked, re.split(r"([;,](?=[\w+.-]+://))", url)))


def _masked(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    # The last @, because an unencoded password may contain an @.
    login, at, tail = rest.rpartition("@")
    if not separator:
        return url
    if at and ":" in login:
        login = f"{login.partition(':')[0]}:***"
    shown = _SECRET.sub(r"\g<1>***", tail)
    return f"{scheme}://{login}{at}{shown}"


def is_cluster(url: str) -> bool:
    """Return whether the URL names a Redis Cluster: `redis+cluster://…` or `?cluster=true`."""
    parts = split_url(url)
    option = dict(parse_qsl(parts.query)).get("cluster", "")
    return parts.scheme.endswith(CLUSTER) or option.lower() in _YES


def is_sentinel(url: str) -> bool:
    """Return whether the URL names Sentinels: `redis+sentinel://…`."""
    return split_url(url).scheme.endswith(SENTINEL)


def url_faults(url: str) -> Iterator[str]:
    """Yield each fault of the URL as text without secrets."""
    parts = split_url(url)
    if f"{parts.scheme}://" not in SCHEMES or "://" not in url:
        # Show only what can be a scheme, because the rest may contain a password.
        scheme = re.match(r"[A-Za-z][A-Za-z0-9+.-]*(?=:)", url)
        yield (
            f"begins with {scheme[0] if scheme else ''!r}: must begin with {', '.join(SCHEMES)}, "
            "e.g. redis://127.0.0.1:6379/0"
        )
        return
    if "@" in parts.path + parts.query + parts.fragment and not parts.login:
        yield (
            "has an @ after a /, ? or #. In a user, password or option, write %2F, %3F, %23 and "
            "%40 for these characters"
        )
        return
    if parts.fragment:
        yield "has a fragment after #, which is not supported. In a password, write %23"
        return
    yield from _host_faults(url, parts)
    yield from _option_faults(parts)


def _host_faults(url: str, parts: URLParts) -> Iterator[str]:
    if parts.scheme == "unix":
        if parts.hosts or len(parts.path) < 2:
            yield "names no socket. Write unix:///run/redis.sock or unix://user:password@/run/redis.sock"
        return
    several = is_cluster(url) or is_sentinel(url)
    if "," in parts.hosts and not several:
        yield (
            "names several hosts, which only redis+cluster:// and redis+sentinel:// support. "
            "Name the one server that stores the events"
        )
        return
    try:
        for text in parts.hosts.split(","):
            _node(text, REDIS_PORT)
    except ValueError as error:
        yield f"has an invalid host ({error}). Write, for example, redis://127.0.0.1:6379/0"
    if is_sentinel(url):
        try:
            SentinelURL.parse(url)
        except ValueError as error:
            yield str(error)
    elif is_cluster(url):
        if parts.path.strip("/") not in ("", "0"):
            yield _ONE_DATABASE.format(parts.path.strip("/")[:10])
    elif not re.fullmatch(r"(/[0-9]*)?", parts.path):
        yield "has a path that is not a database number. Write, for example, /0 after the host"


_ONE_DATABASE = (
    "names database {}, but a Redis Cluster has database 0 only. Separate two buses with "
    "CELERIAC_NAMESPACE"
)


def _option_faults(parts: URLParts) -> Iterator[str]:
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        parse = OPTIONS.get(name)
        if parse is None:
            known = ", ".join(sorted(OPTIONS))
            yield f"has the unknown option {name[:40]!r}. The options are {known}"
            continue
        try:
            parse(value)
        except ValueError as error:
            reason = error if parse is switch else "must be a number"
            yield f"has an invalid value for {name}: {reason}"
        if name.startswith("ssl_") and not parts.scheme.startswith("rediss"):
            yield f"has the option {name}, but {parts.scheme}:// is without TLS. Write rediss"
        if name.startswith("sentinel_") and not parts.scheme.endswith(SENTINEL):
            yield f"has the option {name}, which is for redis+sentinel:// only"


@dataclass(frozen=True, slots=True)
class ClusterURL:
    """`redis+cluster://user:password@host:port,host:port?options`, parsed.

    One reachable seed is enough to discover the other nodes.
    """

    scheme: str
    login: str = field(repr=False)
    seeds: tuple[Node, ...]
    query: str = field(repr=False)

    @classmethod
    def parse(cls, url: str) -> ClusterURL:
        """Return the parsed URL. Raises ConfigurationError without the password."""
        parts = split_url(url)
        if parts.path.strip("/") not in ("", "0"):
            fault = _ONE_DATABASE.format(parts.path.strip("/")[:10])
            raise ConfigurationError(f"CELERIAC_REDIS_URL {fault}")
        try:
            seeds = tuple(_node(text, REDIS_PORT) for text in parts.hosts.split(","))
        except ValueError as error:
            raise ConfigurationError(
                f"CELERIAC_REDIS_URL: {parts.hosts!r} is not a valid list of cluster nodes "
                f"({error}). Write, for example, redis+cluster://10.0.0.1:6379,10.0.0.2:6379"
            ) from None
        options = [(k, v) for k, v in parse_qsl(parts.query) if k != "cluster"]
        scheme = parts.scheme.removesuffix(CLUSTER)
        login = f"{parts.login}@" if parts.login else ""
        return cls(scheme, login, seeds, urlencode(options))

    def of(self, node: Node) -> str:
        """Return the URL of one node, with the same login and options."""
        query = f"?{self.query}" if self.query else ""
        return f"{self.scheme}://{self.login}{shown_node(node)}{query}"


@dataclass(frozen=True, slots=True)
class SentinelURL:
    """`redis+sentinel://user:password@host:port,host:port/MASTER/DB?options`, parsed.

    `options` are those of redis-py for the master; with TLS, the Sentinels use them, too.
    """

    tls: bool
    nodes: tuple[Node, ...]
    master: str
    login: str = field(repr=False)
    options: dict[str, Any] = field(repr=False)
    sentinel_options: dict[str, Any] = field(repr=False)

    @classmethod
    def parse(cls, url: str) -> SentinelURL:
        """Return the parsed URL. Raises ValueError without the password."""
        parts = split_url(url)
        master, _, db = parts.path.strip("/").partition("/")
        if not re.fullmatch(r"[\w.-]+", master) or not re.fullmatch(r"[0-9]*", db):
            raise ValueError(
                "does not name the master that the Sentinels monitor. Write, for example, "
                "redis+sentinel://10.0.0.1:26379,10.0.0.2:26379/mymaster/0"
            )
        nodes = tuple(_node(text, SENTINEL_PORT) for text in parts.hosts.split(","))
        given = {k: OPTIONS.get(k, str)(v) for k, v in parse_qsl(parts.query)}
        sentinel = {
            name.removeprefix("sentinel_"): given.pop(name)
            for name in ("sentinel_username", "sentinel_password")
            if name in given
        }
        user, _, password = parts.login.partition(":")
        login = {"username": unquote(user), "password": unquote(password)}
        options = {name: value for name, value in login.items() if value} | given
        options.setdefault("db", int(db or 0))
        tls = parts.scheme.startswith("rediss")
        if tls:
            secured = {k: v for k, v in given.items() if k.startswith("ssl_")} | {"ssl": True}
            options, sentinel = options | secured, sentinel | secured
        return cls(tls, nodes, master, parts.login, options, sentinel)

    def broker_url(self) -> str:
        """Return the URL for kombu, which takes the master's name from its transport options."""
        login, db = (f"{self.login}@" if self.login else ""), self.options["db"]
        return ";".join(f"sentinel://{login}{shown_node(node)}/{db}" for node in self.nodes)


def shown_node(node: Node) -> str:
    """Return the node as in a URL, with an IPv6 address in brackets."""
    host, port = node
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


_NODE = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.%]+)\]|(?P<host>[^\[\]:/@\s]*))(?::(?P<port>.*))?")


def _node(text: str, port: int) -> Node:
    """Return host and port; `port` is the default. Raises ValueError."""
    match = _NODE.fullmatch(text)
    if match is None:
        raise ValueError("a host is malformed; write an IPv6 address in [ ]")
    host = match["six"] or match["host"]
    if not host:
        raise ValueError("a host is missing")
    if match["port"] is None:
        return host, port
    # The message does not show the port, which may be part of a password.
    if not re.fullmatch(r"[0-9]{1,5}", match["port"]) or not 0 < int(match["port"]) < 65536:
        raise ValueError("a port must be a number from 1 to 65535")
    return host, int(match["port"])
