"""`python -m devtools.chart [--write]`: compare the chart with deploy/rendered, or write that."""

from __future__ import annotations

import os
import sys

from devtools.chart.golden import accepted, differences, rendered, write
from devtools.chart.render import ChartError, find_renderer


def main(arguments: list[str]) -> int:
    """Return 1 if the chart is invalid, or renders to something else. CI must have a renderer."""
    render = find_renderer()
    if render is None:
        print("chart: not rendered, install helm (https://helm.sh)", file=sys.stderr)
        return 1 if os.environ.get("CI") else 0
    try:
        files = rendered(render)
    except ChartError as error:
        print(f"chart: {error}", file=sys.stderr)
        return 1
    if arguments == ["--write"]:
        write(files)
        return 0
    lines, wrong = list(differences(files)), list(accepted(render))
    for line in (*lines, *(f"chart: {sentence}" for sentence in wrong)):
        print(line)
    print("chart: run with --write" if lines else "chart: as rendered")
    return 1 if lines or wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
