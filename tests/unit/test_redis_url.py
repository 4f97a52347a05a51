"""Parsing of Redis URLs, including clusters and Sentinels."""

from __future__ import annotations

import pytest

from celeriac.errors import ConfigurationError
from celeriac.redis_url import ClusterURL, SentinelURL, address, is_cluster
from celeriac.settings import Settings
from celeriac.worker.app import make_app


@pytest.mark.parametrize(
    "url",
    [
        "redis+cluster://h:1",
        "rediss+cluster://h",
        "redis://h:1?cluster=true",
        "redis://h/0?cluster=1",
    ],
)
def test_a_cluster_is_named_by_scheme_or_option(url: str) -> None:
    assert is_cluster(url)
    assert Settings.load({}, redis_url=url).redis_url == url


@pytest.mark.parametrize(
    "url", ["redis://h:1/0", "unix:///s", "redis://h?cluster=false", "redis://cluster"]
)
def test_other_urls_name_one_server(url: str) -> None:
    assert not is_cluster(url)


def test_every_node_is_reached_with_the_same_login_and_options() -> None:
    url = ClusterURL.parse("rediss+cluster://u:p%40@a:7000,b,[::1]:7002/0?cluster=1&db_x=2")
    assert url.seeds == (("a", 7000), ("b", 6379), ("::1", 7002))
    assert url.of(("c", 9)) == "rediss://u:p%40@c:9?db_x=2"
    assert url.of(("::1", 9)) == "rediss://u:p%40@[::1]:9?db_x=2"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis+cluster://:secret@h:1/3", "database 0 only"),
        ("redis+cluster://:secret@h:x", "not a valid list of cluster nodes"),
        ("redis+cluster://:secret@", "a host is missing"),
    ],
)
def test_a_fault_is_reported_without_the_password(url: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        ClusterURL.parse(url)
    assert "secret" not in str(caught.value)


def test_a_worker_refuses_a_cluster_as_broker() -> None:
    """A producer needs no broker, so the error is raised only when an app is created."""
    settings = Settings.load({}, redis_url="redis+cluster://h:1", service="billing")
    assert settings.broker_url == ""
    with pytest.raises(ConfigurationError, match="CELERIAC_BROKER_URL is not set"):
        make_app(settings)


SECRET = "s3cr3tpart"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (f"http://:{SECRET}@h", "begins with 'http': must begin with redis://"),
        (SECRET, "begins with ''"),
        (f"redis://:{SECRET}#x@127.0.0.1:1/0", "has an @ after a /, \\? or #.*%23"),
        (f"redis://:{SECRET}/x@127.0.0.1:1/0", "has an @ after a /, \\? or #"),
        (f"redis://:{SECRET}?x@127.0.0.1:1/0", "has an @ after a /, \\? or #"),
        (f"redis://:{SECRET}[x@[127.0.0.1:1/0", "a host is malformed"),
        (f"redis://:{SECRET}@h:1/0#x", "has a fragment after #"),
        (f"redis://:{SECRET}@h:70000/0", "a port must be a number from 1 to 65535"),
        (f"redis://user:{SECRET}", "a port must be a number"),
        (f"redis://:{SECRET}@", "a host is missing"),
        (f"redis://:{SECRET}@h/orders", "a path that is not a database number"),
        (f"redis://:{SECRET}@h,i/0", "names several hosts"),
        (f"redis+cluster://:{SECRET}@h/3", "database 0 only"),
        (f"unix://:{SECRET}@", "names no socket"),
        (f"redis://:{SECRET}@h?cluster=perhaps", "cluster: must be true or false"),
        (f"redis://h?max_connections={SECRET}", "max_connections: must be a number"),
        (
            f"redis://:{SECRET}@h?max_conections=3",
            "has the unknown option 'max_conections'. The options are",
        ),
        (f"redis://h?ssl_password={SECRET}", "without TLS"),
        (f"redis://h?sentinel_password={SECRET}", "is for redis\\+sentinel://"),
        (f"redis+sentinel://:{SECRET}@h:26379", "does not name the master"),
        (f"redis+sentinel://:{SECRET}@h:26379/mymaster/x", "does not name the master"),
    ],
)
def test_a_url_that_is_wrong_ends_when_the_bus_is_made(url: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        Settings.load({}, redis_url=url)
    assert SECRET not in str(caught.value)
    assert "CELERIAC_REDIS_URL" in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://h",
        "redis://h/",
        "redis://h:1/15?client_name=billing&max_connections=10&health_check_interval=5",
        "redis://user:p%40%2F%23@[::1]:6379/0",
        "rediss://h:1/0?ssl_cert_reqs=required&ssl_ca_certs=/etc/ca.crt&ssl_check_hostname=true",
        "unix:///run/redis.sock?db=3",
        "unix://user:password@/run/redis.sock",
        "redis+cluster://u:p@a:7000,b,[::1]:7002",
        "rediss+cluster://a,b?ssl_ca_certs=/etc/ca.crt",
        "redis+sentinel://u:p@a:26379,b/mymaster/2?sentinel_password=q",
    ],
)
def test_every_documented_form_is_taken(url: str) -> None:
    assert Settings.load({}, redis_url=url).redis_url == url


def test_nodes_are_split_before_they_are_parsed() -> None:
    """`urlsplit` of Python 3.11.2 to 3.11.8 refuses the list."""
    url = ClusterURL.parse("redis+cluster://a:7000,b,[::1]:7002")
    assert url.seeds == (("a", 7000), ("b", 6379), ("::1", 7002))


def test_sentinels_and_their_master_are_read_from_the_url() -> None:
    url = SentinelURL.parse(
        "rediss+sentinel://me:p%40@a:1,b,[::1]:3/my.master/2?sentinel_password=q&ssl_ca_certs=/ca"
    )
    assert url.nodes == (("a", 1), ("b", 26379), ("::1", 3))
    assert url.master == "my.master"
    tls = {"ssl": True, "ssl_ca_certs": "/ca"}
    assert url.options == {"username": "me", "password": "p@", "db": 2, **tls}
    assert url.sentinel_options == {"password": "q", **tls}
    assert url.broker_url() == (
        "sentinel://me:p%40@a:1/2;sentinel://me:p%40@b:26379/2;sentinel://me:p%40@[::1]:3/2"
    )


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:secret@h:1/0", "redis://:***@h:1/0"),
        ("redis://u:se@cr/et@h:1/0", "redis://u:***@h:1/0"),
        ("redis://h/0?password=secret&db=1", "redis://h/0?password=***&db=1"),
        ("rediss://h/0?ssl_password=secret", "rediss://h/0?ssl_password=***"),
        ("redis+cluster://u:secret@a:1,b:2", "redis+cluster://u:***@a:1,b:2"),
        ("amqp://u:secret@a//;amqp://u:secret@b//", "amqp://u:***@a//;amqp://u:***@b//"),
        (
            "sentinel://:secret@a:1/0;sentinel://:secret@b",
            "sentinel://:***@a:1/0;sentinel://:***@b",
        ),
        ("redis://:secret@a,redis://:secret@b", "redis://:***@a,redis://:***@b"),
        ("postgresql://me:secret@db/shop", "postgresql://me:***@db/shop"),
        ("django:default", "django:default"),
    ],
)
def test_an_address_shows_no_password(url: str, shown: str) -> None:
    assert address(url) == shown


def test_no_representation_shows_a_password() -> None:
    settings = Settings.load({}, redis_url="redis://:secret@h", broker_url="redis://:secret@b")
    cluster = ClusterURL.parse("redis+cluster://:secret@h?password=secret")
    sentinel = SentinelURL.parse("redis+sentinel://:secret@h/m?sentinel_password=secret")
    for shown in (repr(settings), repr(cluster), repr(sentinel)):
        assert "secret" not in shown


def test_the_app_of_a_service_finds_its_broker_through_the_sentinels() -> None:
    url = "redis+sentinel://:p@a:1,b:2/mymaster/3?sentinel_password=q"
    app = make_app(Settings.load({}, redis_url=url, service="billing"))
    assert app.conf.broker_url == "sentinel://:p@a:1/3;sentinel://:p@b:2/3"
    options = app.conf.broker_transport_options
    assert (options["master_name"], options["ack_emulation"]) == ("mymaster", False)
    assert options["sentinel_kwargs"]["password"] == "q"
