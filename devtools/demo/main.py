"""The demo from its start to its end."""

from __future__ import annotations

import runpy
import signal
import sys
from collections.abc import Mapping, Sequence

from redis.exceptions import RedisError

from celeriac.errors import CeleriacError
from devtools.demo.options import Options, parse
from devtools.demo.processes import ROOT, Processes


def main(argv: Sequence[str]) -> int:
    """The exit status: 0 if all is accounted for, 1 if something is not, 2 if it could not run."""
    options = parse(argv)
    sys.path.insert(0, str(ROOT))
    for number in (signal.SIGTERM, signal.SIGHUP):
        # ignored already: the caller has said nohup
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    try:
        with Processes() as processes:
            workers = _workers(options)
            processes.start_server()
            processes.start_crew(workers, options.port)
            # While the workers start: with the screen comes all of rich.
            from devtools.demo.run import Demo

            summary = Demo(options, processes, workers).run()
    except KeyboardInterrupt:
        return 130
    except (CeleriacError, RedisError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    if options.json:
        print(summary.json(), flush=True)
    summary.print(stderr=options.json)
    return 1 if summary.faults() else 0


def _workers(options: Options) -> Mapping[str, int]:
    """Service → processes."""
    # By its path: imported as a module it would import the whole shop, and the fork comes later.
    services = runpy.run_path(str(ROOT / "config" / "services.py"))["SERVICES"]
    return {name: options.concurrency or it.concurrency for name, it in services.items()}
