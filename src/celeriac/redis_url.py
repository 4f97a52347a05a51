"""What a Redis URL says about a cluster: that it is one, and the nodes to ask first. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit

from celeriac.errors import ConfigurationError

Node = tuple[str, int]  # host, port

SUFFIX = "+cluster"
SCHEMES = ("redis://", "rediss://", "unix://", "redis+cluster://", "rediss+cluster://")
_YES = {"1", "true", "yes", "on"}


def is_cluster(url: str) -> bool:
    """Whether it names a Redis Cluster: `redis+cluster://…`, or `?cluster=true`."""
    parts = urlsplit(url)
    asked = dict(parse_qsl(parts.query)).get("cluster", "")
    return parts.scheme.endswith(SUFFIX) or asked.lower() in _YES


@dataclass(frozen=True, slots=True)
class ClusterURL:
    """`redis+cluster://user:password@host:port,host:port?options`, taken apart.

    `seeds` are asked for the others; one that answers is enough.
    """

    scheme: str
    login: str
    seeds: tuple[Node, ...]
    query: str

    @classmethod
    def parse(cls, url: str) -> ClusterURL:
        """Raises ConfigurationError, without the password in it."""
        parts = urlsplit(url)
        login, at, hosts = parts.netloc.rpartition("@")
        if parts.path.strip("/") not in ("", "0"):
            raise ConfigurationError(
                f"CELERIAC_REDIS_URL names database {parts.path.strip('/')}: a Redis Cluster has "
                "database 0 only. CELERIAC_NAMESPACE keeps two buses apart"
            )
        try:
            seeds = tuple(map(_node, hosts.split(",")))
        except ValueError as error:
            raise ConfigurationError(
                f"CELERIAC_REDIS_URL: {hosts!r} are no nodes of a cluster ({error}); e.g. "
                "redis+cluster://10.0.0.1:6379,10.0.0.2:6379"
            ) from None
        options = [(k, v) for k, v in parse_qsl(parts.query) if k != "cluster"]
        scheme = parts.scheme.removesuffix(SUFFIX)
        return cls(scheme, login + at, seeds, urlencode(options))

    def of(self, node: Node) -> str:
        """The URL of one node, with the same login and options."""
        host, port = node
        shown = f"[{host}]" if ":" in host else host
        query = f"?{self.query}" if self.query else ""
        return f"{self.scheme}://{self.login}{shown}:{port}{query}"


def _node(text: str) -> Node:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError("a host is missing")
    return parts.hostname, parts.port or 6379
