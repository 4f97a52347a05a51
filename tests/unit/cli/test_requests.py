"""`celeriac requests`"""

from __future__ import annotations

from celeriac.reply import RequestEnd, RequestOutcome
from tests.unit.cli.conftest import Run
from tests.unit.tracking.shop import Shop


def test_it_lists_requests_by_type(run: Run, shop: Shop) -> None:
    replies = shop.backend.replies
    for mailbox in ("m1", "m2", "m3"):
        replies.open(mailbox, "price.asked", 60_000)
    replies.count_end(RequestEnd("m1", "price.asked", RequestOutcome.REPLIED, 4_000))
    replies.count_end(RequestEnd("m2", "price.asked", RequestOutcome.TIMED_OUT))
    replies.push("m2x", b"late", "price.asked")
    [row] = run("requests", "--json").json
    counts = ("type", "pending", "replied", "timed_out", "failed", "late_replies")
    assert [row[name] for name in counts] == ["price.asked", 1, 1, 1, 0, 1]
    assert 0.002 <= row["p50_s"] <= row["p95_s"] <= 0.008
    shown = run("requests").out
    assert "price.asked" in shown and "timed out" in shown and "ms" in shown


def test_without_requests_it_shows_how_to_make_one(run: Run) -> None:
    assert "bus.request" in run("requests").out
    assert run("requests", "--json").json == []
