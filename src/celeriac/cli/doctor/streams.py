"""Check that event logs accept new entries, and that no group lost entries."""

from __future__ import annotations

from collections.abc import Iterator

from celeriac.cli.doctor.finding import BusSnapshot, Finding, fail, ok
from celeriac.cli.show import count, duration
from celeriac.event_log import StreamStats, entry_key

MAX_AHEAD_MS = 60_000  # by the server's clock
# `XADD *` fails at the last possible id. An id of this time leaves room for years.
EXHAUSTED_MS = 2**63


def check_streams(snapshot: BusSnapshot) -> Iterator[Finding]:
    """Check for ids in the future, exhausted ids, and groups that trimming has overtaken."""
    findings = [*_ids(snapshot), *_overtaken(snapshot)]
    yield from findings or [ok("log", f"{count(len(snapshot.stream_stats), 'log')} in order")]


def _ids(snapshot: BusSnapshot) -> Iterator[Finding]:
    for volume in snapshot.stream_stats:
        ms, _ = entry_key(volume.newest)
        ahead = ms - snapshot.now_ms
        if ms >= EXHAUSTED_MS:
            text = f"the log of {volume.domain} has exhausted its ids: the last is {volume.newest}"
            yield fail("log", text, "emit fails there; see docs/how-to/recover-used-up-ids.md")
        elif ahead > MAX_AHEAD_MS:
            text = f"the last id of the log of {volume.domain}, {volume.newest}, is "
            text += f"{duration(ahead / 1000)} ahead of the server's clock"
            remedy = (
                "until then ages and retention are wrong; check whether the clock was set back, "
            )
            yield fail("log", text, f"{remedy}or an id was written manually")


def _overtaken(snapshot: BusSnapshot) -> Iterator[Finding]:
    stream_stats = {volume.domain: volume for volume in snapshot.stream_stats}
    for domain, groups in snapshot.groups.items():
        gone = _trimmed(stream_stats[domain])
        for group in groups:
            lost = 0 if group.read is None else gone - group.read
            if lost > 0:
                text = f"{count(lost, 'entry', 'entries')} of {domain} were deleted before "
                text += f"{group.handler} read them"
                remedy = (
                    "celeriac never trims unread entries: find who ran XTRIM, XDEL or XADD MAXLEN"
                )
                yield fail("group", text, remedy)


def _trimmed(volume: StreamStats) -> int:
    return max(0, volume.appended - volume.length)
