"""Charts as small SVG files. Each brings its own background, so it is legible on any page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from benchmarks.report import number

WIDTH, LABEL, VALUE, ROW, TOP = 640, 190, 90, 26, 44
STYLE = """
  .card { fill: #ffffff; stroke: #d0d7de; } text { fill: #1f2328; }
  .own { fill: #2f7d32; } .peer { fill: #afb8c1; } .line { stroke: #2f7d32; fill: none; }
  .grid { stroke: #d0d7de; }
  @media (prefers-color-scheme: dark) {
    .card { fill: #151b23; stroke: #3d444d; } text { fill: #e6edf3; }
    .own { fill: #57ab5a; } .peer { fill: #656c76; } .line { stroke: #57ab5a; }
    .grid { stroke: #3d444d; }
  }
"""


def bars(title: str, unit: str, values: Sequence[tuple[str, float]]) -> str:
    """One bar for each name, in the given order; celeriac's are highlighted."""
    bar_width = WIDTH - LABEL - VALUE
    longest = max(value for _, value in values)
    parts = []
    for row, (name, value) in enumerate(values):
        y = TOP + row * ROW
        kind = "own" if name.startswith("celeriac") else "peer"
        length = max(1.0, bar_width * value / longest)
        parts += [
            f'<text x="{LABEL - 10}" y="{y + 15}" text-anchor="end">{escape(name)}</text>',
            f'<rect class="{kind}" x="{LABEL}" y="{y + 3}" width="{length:.1f}" height="16"/>',
            f'<text x="{LABEL + length + 8:.1f}" y="{y + 15}">{number(value)}</text>',
        ]
    return document(f"{title}, {unit}", TOP + len(values) * ROW + 12, parts)


def line(title: str, unit: str, values: Sequence[tuple[float, float]]) -> str:
    """A curve over a logarithmic x and a y that begins at 0."""
    left_edge, right, bottom, height = 70, WIDTH - 60, 240, 280
    first, last = math.log(values[0][0]), math.log(values[-1][0])
    maximum = max(y for _, y in values)
    points = [
        (left_edge + (right - left_edge) * (math.log(x) - first) / (last - first), y)
        for x, y in values
    ]
    scaled = [(x, bottom - (bottom - TOP - 10) * y / maximum) for x, y in points]
    parts = [f'<path class="grid" d="M{left_edge} {bottom}H{right}M{left_edge} {TOP}V{bottom}"/>']
    drawn = "L".join(f"{x:.1f} {y:.1f}" for x, y in scaled)
    parts.append(f'<path class="line" stroke-width="2" d="M{drawn}"/>')
    for at, ((x, y), (name, value)) in enumerate(zip(scaled, values, strict=True)):
        following = scaled[min(at + 1, len(scaled) - 1)][1] - scaled[max(at - 1, 0)][1]
        aside, anchor = _aside(following)
        shown = number(value)
        parts += [
            f'<circle class="own" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>',
            f'<text x="{x + aside:.1f}" y="{y - 9:.1f}" text-anchor="{anchor}">{shown}</text>',
            f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{number(name)}</text>',
        ]
    return document(f"{title}, {unit}", height, parts)


def _aside(falls: float) -> tuple[int, str]:
    """Return the offset at which a label does not touch a line with this slope around its point."""
    if abs(falls) < 12:
        return 0, "middle"
    return (3, "start") if falls > 0 else (-3, "end")


def document(title: str, height: float, parts: Sequence[str]) -> str:
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" role="img" '
            'font-family="system-ui, sans-serif" font-size="13">',
            f"<title>{escape(title)}</title>",
            f"<style>{STYLE}</style>",
            f'<rect class="card" width="{WIDTH}" height="{height:g}" rx="8"/>',
            f'<text x="16" y="26" font-weight="600">{escape(title)}</text>',
            *parts,
            "</svg>\n",
        ]
    )
