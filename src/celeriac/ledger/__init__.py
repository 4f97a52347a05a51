from celeriac.ledger.dead_group import Audited, DeadGroup, exception_of
from celeriac.ledger.ledger import (
    PUT_OFF_MS,
    Ask,
    Claimed,
    DeadLetter,
    Delivery,
    Lane,
    Ledger,
    Pending,
    Settled,
    Stretch,
    Taken,
)
from celeriac.ledger.row import Failure, History, Restart, Row, refused_field
from celeriac.ledger.state import IN_FLIGHT, MOVES, SETTLED, Outcome, Place, Verdict
from celeriac.ledger.tally import Histogram, Tallies, Tally, sum_tallies

__all__ = [
    "IN_FLIGHT",
    "MOVES",
    "PUT_OFF_MS",
    "SETTLED",
    "Ask",
    "Audited",
    "Claimed",
    "DeadGroup",
    "DeadLetter",
    "Delivery",
    "Failure",
    "Histogram",
    "History",
    "Lane",
    "Ledger",
    "Outcome",
    "Pending",
    "Place",
    "Restart",
    "Row",
    "Settled",
    "Stretch",
    "Taken",
    "Tallies",
    "Tally",
    "Verdict",
    "exception_of",
    "refused_field",
    "sum_tallies",
]
