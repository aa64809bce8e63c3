"""When a phrase has ended: tables of snapshots."""

from __future__ import annotations

import pytest

from plugin_bridge.duet.phrases import Move, PhraseRules, Snapshot, decide, pause_after

RULES = PhraseRules()
EIGHTHS = tuple(10.0 + i * 0.25 for i in range(9))  # the last at 12.0


def _at(now: float, **changes: object) -> Snapshot:
    values: dict[str, object] = {
        "now": now, "onsets": EIGHTHS, "last_release": 12.2, "held": 0, "answering": False,
        "player_struck": False,
    }  # fmt: skip
    return Snapshot(**{**values, **changes})


@pytest.mark.parametrize(
    ("snapshot", "move"),
    [
        (_at(12.1), Move.LISTEN),
        (_at(12.3), Move.LISTEN),
        (_at(12.7), Move.ANSWER),
        (_at(12.7, held=1), Move.LISTEN),  # a key is still down
        (_at(15.5, held=1), Move.ANSWER),  # ... for so long that it is a pedal point
        (_at(20.0, onsets=EIGHTHS[:2]), Move.LISTEN),  # two notes are no phrase
        (_at(20.0, onsets=()), Move.LISTEN),
        (_at(13.0, answering=True), Move.ANSWER),
        (_at(13.0, answering=True, player_struck=True), Move.YIELD),
    ],
)
def test_moves(snapshot: Snapshot, move: Move) -> None:
    assert decide(snapshot, RULES).move is move


def test_the_answer_starts_after_the_pause_and_lasts_as_long_as_the_phrase() -> None:
    decision = decide(_at(12.45), RULES)
    assert decision.start == pytest.approx(12.2 + pause_after(EIGHTHS, RULES))
    assert decision.end - decision.start == pytest.approx(RULES.shortest_answer)
    longer = tuple(4.0 + i * 0.25 for i in range(33))
    decision = decide(_at(12.7, onsets=longer), RULES)
    assert decision.end - decision.start == pytest.approx(8.0)


def test_listening_says_when_to_look_again() -> None:
    look = decide(_at(12.25), RULES).look_again
    assert look is not None
    assert decide(_at(look + 1e-6), RULES).move is Move.ANSWER


@pytest.mark.parametrize(
    ("gaps", "least", "most"),
    [(0.1, 0.4, 0.4), (0.5, 0.7, 0.8), (3.0, 1.0, 1.0)],
    ids=["fast", "calm", "slow"],
)
def test_the_pause_follows_the_players_own_spacing(gaps: float, least: float, most: float) -> None:
    assert least <= pause_after([i * gaps for i in range(10)], RULES) <= most


def test_chords_are_no_spacing() -> None:
    block = [time + spread for time in (0.0, 0.6, 1.2, 1.8) for spread in (0.0, 0.01, 0.02)]
    assert pause_after(block, RULES) == pytest.approx(1.5 * 0.58, abs=0.05)
