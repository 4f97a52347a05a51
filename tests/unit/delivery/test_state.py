"""The table of moves is a machine that can come to an end from everywhere."""

from __future__ import annotations

from celeriac.delivery import FINISHED, IN_FLIGHT, MOVES, DeliveryState


def reachable(start: DeliveryState) -> set[DeliveryState]:
    found, ahead = {start}, [start]
    while ahead:
        here = ahead.pop()
        for (place, _), places in MOVES.items():
            if place is here:
                ahead += places - found
                found |= places
    return found


# States that readers derive: no delivery is stored in one of them.
DERIVED = {DeliveryState.MISSING, DeliveryState.FORGOTTEN}


def test_every_stored_state_is_of_one_kind() -> None:
    assert not IN_FLIGHT & FINISHED
    assert set(DeliveryState) - DERIVED == IN_FLIGHT | FINISHED | {DeliveryState.WAITING}


def test_from_every_stored_state_a_delivery_can_be_processed_or_die() -> None:
    for place in set(DeliveryState) - DERIVED:
        assert {DeliveryState.PROCESSED, DeliveryState.DEAD} <= reachable(place)


def test_a_delivery_runs_only_when_it_was_claimed() -> None:
    assert {(DeliveryState.QUEUED, "claim"), (DeliveryState.RUNNING, "renew")} == {
        move for move, places in MOVES.items() if DeliveryState.RUNNING in places
    }


def test_what_is_completed_comes_back_only_by_an_operator_s_hand() -> None:
    assert {"replay", "redrive"} == {call for place, call in MOVES if place in FINISHED}
