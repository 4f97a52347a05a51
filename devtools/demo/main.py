"""Run the demo."""

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
    """Run the demo. Return 0 if no delivery is missing, 1 if one is, 2 if the demo did not run."""
    options = parse(argv)
    sys.path.insert(0, str(ROOT))
    for number in (signal.SIGTERM, signal.SIGHUP):
        # ignored already by nohup
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    try:
        with Processes() as processes:
            workers = _workers(options)
            processes.start_server()
            processes.start_services(workers, options.port)
            # Import rich while the workers start.
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
    """Return the number of processes of each service."""
    # By its path: as a module it would import the whole shop before the fork.
    services = runpy.run_path(str(ROOT / "config" / "services.py"))["SERVICES"]
    return {name: options.concurrency or it.concurrency for name, it in services.items()}
