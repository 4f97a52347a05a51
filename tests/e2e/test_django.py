"""A Django site as its users have it: a project, an app, and workers that are killed.

Emits within `atomic` are relayed by the workers themselves, and handlers with a DjangoInbox have
their effects once.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.pool import NullPool

SITE = Path(__file__).parent / "site"
ORDERS_PER_KILL = 30


@pytest.fixture
def site(deployment: Any, database_url: str) -> Engine:
    """The environment of the site, for its own processes only, and its database, migrated."""
    deployment.variables |= {
        "DATABASE_URL": database_url,
        "DJANGO_SETTINGS_MODULE": "mysite.settings",
        "PYTHONPATH": str(SITE),
    }
    manage(deployment, "migrate")
    return create_engine(database_url, poolclass=NullPool)


def manage(deployment: Any, *arguments: str) -> None:
    command = [sys.executable, str(SITE / "place.py"), *arguments]
    environment = deployment.environment
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def effects(site: Engine, handler: str) -> Counter[str]:
    with site.begin() as connection:
        sql = text("SELECT event_id FROM shop_effect WHERE handler = :handler")
        return Counter(connection.execute(sql, {"handler": handler}).scalars())


# On MySQL and MariaDB: unit/django, and the relays through Django of test_outbox.py.
@pytest.mark.timeout(300)
@pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
def test_what_a_site_commits_has_its_effects_once_whatever_dies(
    deployment: Any, site: Engine, is_full: bool
) -> None:
    deployment.lease = 2.0
    worker = deployment.worker(app="mysite")
    # Joined by its own first event: until then there is no domain to join.
    manage(deployment, "0", "2")
    deployment.until(lambda: effects(site, "charge"), what="the first order", seconds=60)
    share, kills = ORDERS_PER_KILL, 5 if is_full else 2
    for n in range(kills):
        manage(deployment, str(1000 + n * share), str(1000 + (n + 1) * share))
        time.sleep(0.05 * n)
        worker.kill()
        worker = deployment.worker(app="mysite")
    wanted = {f"order-{n}" for n in range(1000, 1000 + kills * share) if n % 3}
    deployment.until(
        lambda: wanted <= effects(site, "thank").keys(), what="all effects", seconds=90
    )
    deployment.until_settled()
    for handler in ("charge", "thank"):
        found = effects(site, handler)
        assert {id for id, count in found.items() if count > 1} == set()
        assert found.keys() - {"order-1"} == wanted

    def waiting() -> int:
        with site.begin() as connection:
            count = connection.execute(text("SELECT COUNT(*) FROM celeriac_outbox"))
            return int(count.scalar_one())

    # Rows are deleted after their events were published, and may have run by then.
    deployment.until(lambda: waiting() == 0, what="an empty outbox")
