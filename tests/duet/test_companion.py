"""When the partner plays along: tables of snapshots."""

from __future__ import annotations

from math import inf

import pytest

from plugin_bridge.duet.companion import CompanionRules, accompany
from plugin_bridge.duet.phrases import Move, Snapshot

RULES = CompanionRules()
NOTES = (10.0, 10.5, 11.0)


def _at(now: float, **changes: object) -> Snapshot:
    values: dict[str, object] = {
        "now": now, "onsets": NOTES, "last_release": 11.4, "held": 0, "answering": False,
        "player_struck": False,
    }  # fmt: skip
    return Snapshot(**{**values, **changes})


@pytest.mark.parametrize(
    ("snapshot", "move"),
    [
        (_at(10.2, onsets=()), Move.LISTEN),
        (_at(10.2, onsets=(10.0,)), Move.LISTEN),  # one note may be a slip
        (_at(11.0), Move.ANSWER),
        (_at(11.2, answering=True), Move.ANSWER),
        (_at(11.2, answering=True, player_struck=True), Move.ANSWER),  # it is no interruption: it goes on
        (_at(14.3, answering=True), Move.ANSWER),  # a rest
        (_at(14.5, answering=True), Move.YIELD),  # the player is away
        (_at(14.5), Move.LISTEN),
        (_at(20.0, answering=True, held=1), Move.ANSWER),  # a key is still down
        (_at(23.5, answering=True, held=1), Move.YIELD),  # ... or stuck
    ],
)
def test_moves(snapshot: Snapshot, move: Move) -> None:
    assert accompany(snapshot, RULES).move is move


def test_it_comes_in_just_after_the_player_and_has_no_end() -> None:
    decision = accompany(_at(11.01), RULES)
    assert decision.start == pytest.approx(11.1)
    assert decision.end == inf
    assert decision.look_again == pytest.approx(14.4)


def test_what_is_over_is_never_started() -> None:
    assert accompany(_at(13.0), RULES).start == 13.0
