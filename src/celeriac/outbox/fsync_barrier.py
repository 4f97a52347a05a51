"""Wait until published events are on the disk of Redis: `outbox_fsync`.

With appendfsync everysec, Redis can lose up to a second of writes at a power failure. Rows that
stay until their events are on disk are published again after such a loss.
"""

from __future__ import annotations

import redis

from celeriac.errors import BusUnavailable, CeleriacError, ConfigurationError
from celeriac.redis_url import is_cluster
from celeriac.settings import Settings
from celeriac.store.redis.connection import Client, address, open_client
from celeriac.store.redis.keys import Keys

TIMEOUT_MS = 3000


class FsyncBarrier:
    """The barrier of one server. Each call blocks; the first call connects."""

    def __init__(self, settings: Settings) -> None:
        if is_cluster(settings.redis_url):
            raise ConfigurationError(
                "CELERIAC_OUTBOX_FSYNC=true is not supported with a Redis Cluster. Set it to false"
            )
        self._address = address(settings.redis_url)
        self._key = Keys(settings.namespace).relayed
        self._client: Client = open_client(settings.redis_url, answer_within=TIMEOUT_MS / 1000 + 2)
        self._works = False

    def begin(self) -> str:
        """Return the run id of the server. Call it before publishing.

        The first call checks that the server can report its disk state, so that a relay does not
        publish the same rows repeatedly without success.

        Raises redis.RedisError, or BusUnavailable with the remedy.
        """
        if not self._works:
            self._flush()
            self._works = True
        return self._run()

    def end(self, run: str) -> None:
        """Wait until all writes to the server `run` are on its disk.

        Raises redis.RedisError or BusUnavailable if this is unknown: then publish again.
        """
        try:
            self._flush()
            current_run = self._run()
        except (redis.RedisError, CeleriacError):
            self._works = False
            raise
        if current_run != run:
            raise BusUnavailable(
                f"Redis at {self._address} was restarted or failed over before the published "
                "events were on its disk; they are published again"
            )

    def _flush(self) -> None:
        # WAITAOF covers the writes of its connection, so this connection must write.
        commands = (("SET", self._key, "1"), ("WAITAOF", 1, 0, TIMEOUT_MS))
        try:
            written, reply = self._client.execute_many(commands)
            for result in (written, reply):
                if isinstance(result, Exception):
                    raise result
        except redis.ResponseError as error:
            raise BusUnavailable(
                f"Redis at {self._address} cannot report its disk state ({error}). Use Redis or "
                "Valkey 7.2 or later with appendonly yes, or set CELERIAC_OUTBOX_FSYNC=false"
            ) from error
        if int(reply[0]) < 1:
            raise BusUnavailable(
                f"Redis at {self._address} has not written to its disk for {TIMEOUT_MS / 1000:g} "
                "s. Check the speed of the disk, and that appendfsync is not no"
            )

    def _run(self) -> str:
        return str(self._client.info("server")["run_id"])
