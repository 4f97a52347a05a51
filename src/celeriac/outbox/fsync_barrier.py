"""Waiting until what was published is on Redis's disk: `outbox_fsync`.

With appendfsync everysec a server forgets up to a second when its power fails. Rows that are
removed only when they are on its disk bring that second back.
"""

from __future__ import annotations

import redis

from celeriac.errors import BusUnavailable, CeleriacError, ConfigurationError
from celeriac.redis_url import is_cluster
from celeriac.settings import Settings
from celeriac.store.redis.connection import Client, address, open_client
from celeriac.store.redis.keys import Keys

LONGEST_MS = 3000


class FsyncBarrier:
    """Of one server. Blocks in each call; connects at the first."""

    def __init__(self, settings: Settings) -> None:
        if is_cluster(settings.redis_url):
            raise ConfigurationError(
                "CELERIAC_OUTBOX_FSYNC: a cluster cannot be asked; set it to false"
            )
        self._where = address(settings.redis_url)
        self._key = Keys(settings.namespace).relayed
        self._client: Client = open_client(settings.redis_url, answer_within=LONGEST_MS / 1000 + 2)
        self._works = False

    def begin(self) -> str:
        """Which server it is now: call it before publishing. Makes sure first that the server can
        say what is on its disk, so that nothing is published in vain again and again.

        Raises redis.RedisError, or BusUnavailable with the remedy.
        """
        if not self._works:
            self._flush()
            self._works = True
        return self._run()

    def end(self, run: str) -> None:
        """Returns when all that was written to the server `run` before is on its disk.

        Raises redis.RedisError or BusUnavailable where that is not known: publish it again.
        """
        try:
            self._flush()
            now = self._run()
        except (redis.RedisError, CeleriacError):
            self._works = False
            raise
        if now != run:
            raise BusUnavailable(
                f"Redis at {self._where} was restarted, or another one took over, before what was "
                "published was on its disk; it is published again"
            )

    def _flush(self) -> None:
        # WAITAOF is about what was written on this very connection, so something must be.
        commands = (("SET", self._key, "1"), ("WAITAOF", 1, 0, LONGEST_MS))
        try:
            written, answer = self._client.execute_many(commands)
            for one in (written, answer):
                if isinstance(one, Exception):
                    raise one
        except redis.ResponseError as error:
            raise BusUnavailable(
                f"Redis at {self._where} cannot say what is on its disk ({error}): it needs "
                "Redis or Valkey from 7.2 with appendonly yes; or set CELERIAC_OUTBOX_FSYNC=false"
            ) from error
        if int(answer[0]) < 1:
            raise BusUnavailable(
                f"Redis at {self._where} had not written to its disk for {LONGEST_MS / 1000:g} s: "
                "is the disk slow, or appendfsync no?"
            )

    def _run(self) -> str:
        return str(self._client.info("server")["run_id"])
