"""Which URLs name a cluster, and what they say of its nodes."""

from __future__ import annotations

import pytest

from celeriac.errors import ConfigurationError
from celeriac.redis_url import ClusterURL, is_cluster
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
        ("redis+cluster://:secret@h:x", "no nodes of a cluster"),
        ("redis+cluster://:secret@", "a host is missing"),
    ],
)
def test_what_is_wrong_is_told_without_the_password(url: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        ClusterURL.parse(url)
    assert "secret" not in str(caught.value)


def test_a_cluster_is_no_broker_and_a_worker_says_so() -> None:
    """Who only emits needs no broker, so it is told where an app is made."""
    settings = Settings.load({}, redis_url="redis+cluster://h:1", service="billing")
    assert settings.broker_url == ""
    with pytest.raises(ConfigurationError, match="CELERIAC_BROKER_URL is not set"):
        make_app(settings)
