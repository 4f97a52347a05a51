"""Random lives of deliveries, on both implementations in lockstep, against the table of moves.

Whatever happens (workers that crash, delivery tasks that are lost or doubled, late reports, events
emitted twice, ids that two sources use, retries, redriving, replaying, trimming), after each step

* both implementations return the same for every delivery;
* each delivery is in exactly one place: due if and only if it has a time, dead if and only if it
  has one dead letter, and no subject has more out than the handler's limit, which is one where it
  is ordered;
* what moved made a move that `MOVES` allows to that call.

In the end, when leases have expired and everything is completed, each event is completed for each
handler, and was processed once, and again for each redrive and replay.
"""

from __future__ import annotations

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis.stateful import run_state_machine_as_test

from celeriac.testing.server import EmbeddedServer
from devtools.cluster import EmbeddedCluster
from tests.contract.life import Life


@pytest.mark.timeout(240)
def test_every_life_of_a_delivery_keeps_the_promises(redis_server: EmbeddedServer) -> None:
    lead(redis_server.url, examples=90)


@pytest.mark.timeout(240)
def test_every_life_keeps_them_on_a_cluster(redis_cluster: EmbeddedCluster) -> None:
    lead(redis_cluster.url, examples=20)


def lead(at: str, *, examples: int) -> None:
    class Here(Life):
        url = at

    run_state_machine_as_test(
        Here, settings=hypothesis_settings(max_examples=examples, stateful_step_count=50)
    )
