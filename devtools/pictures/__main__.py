"""`python -m devtools.pictures`: write docs/images/ from the running demo."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from devtools.pictures import flower
from devtools.pictures.shop import ROOT, WIDTH, RunningShop, running_shop
from devtools.pictures.terminal import draw

IMAGES = ROOT / "docs" / "images"
COMMAND_WIDTH = 112
TRACE_WIDTH = 136  # the ids of an order's last events fit
RETRIED_ORDER = "order/53"  # processed in the third attempt: see tasks/checkout.py


def main(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    options.images.mkdir(parents=True, exist_ok=True)
    with running_shop(options.rate) as shop:
        time.sleep(options.seconds)
        for path in _terminals(shop, options.images):
            print(path)
        if not options.no_flower:
            event_id = _event_id(shop, RETRIED_ORDER, "payment.requested")
            for path in flower.photograph(shop, event_id, options.images):
                print(path)
    return 0


def _terminals(shop: RunningShop, images: Path) -> Sequence[Path]:
    screens = {"demo": ("python3 dev.py demo", shop.screen.frame, WIDTH)}
    with shop.run("top", width=COMMAND_WIDTH, height=14) as top:
        frame = top.wait_for(lambda frame: "charge_card" in frame, 20)
        time.sleep(5)  # rates need several readings
        frame = top.frame
        screens["top"] = ("celeriac top", frame, COMMAND_WIDTH)
        top.press("q")
        top.wait(10)
    event_id = _event_id(shop, RETRIED_ORDER, "order.placed")
    with shop.run("trace", event_id, width=TRACE_WIDTH) as trace:
        screens["trace"] = ("celeriac trace", trace.wait(20), TRACE_WIDTH)
    paths = []
    for name, (title, screen, width) in screens.items():
        path = images / f"{name}.svg"
        path.write_text(draw(screen, width=width, title=title, name=name))
        paths.append(path)
    return paths


def _event_id(shop: RunningShop, subject: str, type: str) -> str:
    """Return the id of the event of a type about a subject."""
    document = shop.read(
        "events", "--type", type, "--subject", subject, "--since", "1h",
        "--limit", "100", "--json",
    )  # fmt: skip
    for event in json.loads(document):
        if event["subject"] == subject:
            return str(event["id"])
    raise LookupError(f"the demo has placed no {subject} yet; use a larger --seconds")


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="dev.py pictures", description=__doc__)
    parser.add_argument("--seconds", type=float, default=90.0, help="how long the demo runs before")
    parser.add_argument("--rate", type=float, default=3.0, help="orders a second")
    parser.add_argument("--images", type=Path, default=IMAGES, help="the folder to write to")
    parser.add_argument("--no-flower", action="store_true", help="the terminals alone")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
