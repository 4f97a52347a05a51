"""Trim the logs of several domains, step by step."""

from __future__ import annotations

from collections.abc import Sequence

from celeriac.event_log.event_log import Trimmed
from celeriac.invalid_record import InvalidRecords, is_wrong_type
from celeriac.settings import Settings
from celeriac.store.redis.connection import Client
from celeriac.store.redis.keys import Keys
from celeriac.store.redis.known_groups import KnownGroups
from celeriac.store.redis.script import Script

TRIM = Script("trim.lua")
# Calls of trim.lua, 10,000 entries each. More is left to the next run, which is not waited for.
MAX_TRIM_STEPS = 50


def trim_domains(
    client: Client,
    keys: Keys,
    known: KnownGroups,
    invalid: InvalidRecords,
    settings: Settings,
    domains: Sequence[str],
    exact: bool,
) -> list[Trimmed]:
    """Remove what the settings no longer retain; return the result for each domain.

    A domain with a key of another type is left as it is, and the key is reported to `invalid`.
    Blocks for a few round trips. Raises redis.RedisError.
    """
    results = {domain: Trimmed() for domain in domains}
    how = (
        int(settings.retention * 1000),
        settings.retention_count,
        int(settings.dead_retention * 1000),
        "=" if exact else "~",
        settings.max_dead_letters,
    )
    again, kinds = list(results), (keys.chunks, keys.runs)
    for _ in range(MAX_TRIM_STEPS):
        calls = [known.call(TRIM, domain, kinds, *how) for domain in again]
        answers = TRIM.on_keys_many(client, calls)
        more = []
        for domain, answer in zip(again, answers, strict=True):
            if isinstance(answer, Exception):
                if not is_wrong_type(answer):
                    raise answer
                invalid.inspect(client, keys.types(domain))
                results[domain] = Trimmed(remaining=1)
                continue
            if known.learn(domain, answer):
                more.append(domain)
                continue
            entries, dead_letters, is_more, remaining = map(int, answer)
            before = results[domain]
            results[domain] = Trimmed(
                before.entries + entries,
                before.dead_letters + dead_letters,
                remaining,
                bool(is_more),
            )
            if is_more:
                more.append(domain)
        again = more
        if not again:
            break
    return [results[domain] for domain in domains]
