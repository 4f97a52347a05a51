"""An archiver in its own process: for each line of its input it stores all waiting events, and
writes how many there were."""

from __future__ import annotations

import sys

from celeriac import EventBus
from celeriac.archive.archiver import ArchiveOptions, Archiver
from celeriac.archive.storage import Storage


def main(redis_url: str, url: str) -> None:
    bus = EventBus(service="archive", redis_url=redis_url)
    archiver = Archiver(bus.service.backend, bus.settings, Storage(url), ArchiveOptions())
    for _ in sys.stdin:
        print(archiver.run_once(flush=True), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
