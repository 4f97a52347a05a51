"""An embedded Redis Cluster on loopback: masters that share the slots evenly, and replicas."""

from __future__ import annotations

import re
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import redis

from celeriac.testing.ports import free_port
from celeriac.testing.server import EmbeddedServer, ServerFailed, start_server

SLOTS = 16384
NODE_TIMEOUT_MS = 1000


def start_cluster(
    directory: str | Path,
    *,
    masters: int = 3,
    replicas: int = 0,
    timeout: float = 30.0,
    node_timeout_ms: int = NODE_TIMEOUT_MS,
) -> EmbeddedCluster:
    """Starts the nodes in `directory` and returns when all agree that the cluster is whole.

    `replicas` are of the masters in turn. A master that is away for `node_timeout_ms` is replaced
    by its replica; without one, the whole cluster refuses commands. Raises ServerFailed.
    """
    with ExitStack() as stack:
        nodes = [
            stack.enter_context(_start_node(Path(directory) / f"node{number}"))
            for number in range(masters + replicas)
        ]
        cluster = EmbeddedCluster(nodes[:masters], nodes[masters:], ExitStack())
        cluster._form(timeout)
        # Not from the start: nodes that ping each other rarely take longer to know each other.
        for node in nodes:
            with cluster.client(node) as client:
                client.config_set("cluster-node-timeout", node_timeout_ms)
        cluster._stack = stack.pop_all()
        return cluster


class EmbeddedCluster:
    """Leaving its `with` block stops all nodes."""

    def __init__(
        self, masters: list[EmbeddedServer], replicas: list[EmbeddedServer], stack: ExitStack
    ) -> None:
        self.masters = masters
        self.replicas = replicas
        self._stack = stack

    @property
    def nodes(self) -> list[EmbeddedServer]:
        return [*self.masters, *self.replicas]

    @property
    def url(self) -> str:
        """CELERIAC_REDIS_URL of it."""
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.masters)
        return f"redis+cluster://{hosts}"

    def client(self, node: EmbeddedServer) -> Any:
        """A client of one node alone."""
        return redis.Redis.from_url(node.url, decode_responses=True)

    def stop(self) -> None:
        self._stack.close()

    def __enter__(self) -> EmbeddedCluster:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def until_whole(self, timeout: float) -> None:
        """Block until every node that answers reports that all slots are served.

        Raises ServerFailed.
        """
        deadline = time.monotonic() + timeout
        while not all(self._is_whole(node) for node in self.nodes):
            if time.monotonic() > deadline:
                raise ServerFailed(f"the cluster is not whole after {timeout:g} s: {self.nodes}")
            time.sleep(0.05)

    def until_agreed(self, timeout: float) -> None:
        """Block until every master has the same view of all slots and epochs. Raises ServerFailed.

        Call it before a slot is moved: the target claims the slot with an epoch above all epochs in
        its view. If the source's epoch is not in its view yet, a later claim of the source wins,
        and the target deletes the keys that it received.
        """
        deadline = time.monotonic() + timeout
        while not self._is_agreed():
            if time.monotonic() > deadline:
                raise ServerFailed(f"the nodes disagree on slots after {timeout:g} s: {self.nodes}")
            time.sleep(0.01)

    def _is_agreed(self) -> bool:
        views = [self._view(node) for node in self.masters]
        epochs = {epoch for epoch, _ in views[0].values()}
        return len(epochs) == len(self.masters) and all(view == views[0] for view in views)

    def _view(self, node: EmbeddedServer) -> dict[str, tuple[str, Any]]:
        """Return the epoch and the slots of each master in the view of a node."""
        with self.client(node) as client:
            known = client.execute_command("CLUSTER NODES").values()
        masters = [entry for entry in known if "master" in entry["flags"]]
        return {entry["node_id"]: (entry["epoch"], entry["slots"]) for entry in masters}

    def _form(self, timeout: float) -> None:
        share = SLOTS / len(self.masters)
        for number, node in enumerate(self.masters):
            with self.client(node) as client:
                first, last = round(number * share), round((number + 1) * share) - 1
                client.execute_command("CLUSTER ADDSLOTSRANGE", first, last)
                client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
        with self.client(self.masters[0]) as first_client:
            for node in self.nodes[1:]:
                first_client.execute_command(
                    "CLUSTER MEET", "127.0.0.1", node.port, bus_port(node.port)
                )
        for number, node in enumerate(self.replicas):
            self._replicate(node, self.masters[number % len(self.masters)], timeout)
        self.until_whole(timeout)

    def _replicate(self, node: EmbeddedServer, master: EmbeddedServer, timeout: float) -> None:
        with self.client(master) as client:
            name = client.execute_command("CLUSTER MYID")
        deadline = time.monotonic() + timeout
        with self.client(node) as client:
            while True:
                try:
                    client.execute_command("CLUSTER REPLICATE", name)
                    break
                except redis.ResponseError:  # its master is not in its view yet
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.05)
            while client.info("replication").get("master_link_status") != "up":
                if time.monotonic() > deadline:
                    raise ServerFailed(f"replica {node.port} did not get its master's data")
                time.sleep(0.05)

    def _is_whole(self, node: EmbeddedServer) -> bool:
        try:
            with self.client(node) as client:
                info = client.execute_command("CLUSTER INFO")
        except redis.ConnectionError:
            return True  # it was stopped on purpose; the other nodes report the consequence
        # redis-py parses it for some versions of the protocol.
        facts = info if isinstance(info, dict) else dict(re.findall(r"(\w+):(\w+)", info))
        known = int(facts["cluster_known_nodes"]) == len(self.nodes)
        return known and facts["cluster_state"] == "ok"


def bus_port(port: int) -> int:
    """The nodes' port among themselves: nearby, since 10,000 more may be no port."""
    return port - 10_000 if port > 20_000 else port + 10_000


def _start_node(directory: Path) -> EmbeddedServer:
    port = free_port()
    extra = (
        *("--cluster-enabled", "yes", "--cluster-port", str(bus_port(port))),
        *("--cluster-node-timeout", str(NODE_TIMEOUT_MS), "--repl-diskless-sync-delay", "0"),
        *("--cluster-replica-validity-factor", "0"),
    )
    return start_server(directory, port=port, appendonly=False, extra=extra)
