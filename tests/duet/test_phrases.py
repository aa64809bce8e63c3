"""When a phrase has ended: tables of snapshots."""

from __future__ import annotations

import pytest

from plugin_bridge.duet.phrases import Move, PhraseRules, Snapshot, decide, pause_after
from plugin_bridge.music.beat_tracking import BeatEstimate
from plugin_bridge.ports.host_clock import Timeline

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
    decision = decide(_at(12.7), RULES)
    assert decision.start == pytest.approx(12.2 + pause_after(EIGHTHS, (), RULES))
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
    [(0.1, 0.6, 0.6), (0.6, 0.64, 0.68), (3.0, 0.7, 0.7)],
    ids=["fast", "calm", "slow"],
)
def test_the_pause_follows_the_players_own_spacing(gaps: float, least: float, most: float) -> None:
    assert least <= pause_after([i * gaps for i in range(10)], (), RULES) <= most


@pytest.mark.parametrize(
    ("rests", "pause"), [((0.1, 0.2), 0.6), ((0.1, 0.8, 0.1), 1.0), ((2.0, 2.0, 2.0), 1.5)]
)
def test_who_rests_between_notes_is_given_longer(rests: tuple[float, ...], pause: float) -> None:
    assert pause_after(EIGHTHS, rests, RULES) == pytest.approx(pause)


def test_chords_are_no_spacing() -> None:
    block = [time + spread for time in (0.0, 0.6, 1.2, 1.8) for spread in (0.0, 0.01, 0.02)]
    assert pause_after(block, (), RULES) == pytest.approx(1.1 * 0.58, abs=0.05)


def clock(tempo: float, playing: bool = True) -> Timeline:
    """A host at `tempo` whose position 0 was at 10 s."""
    return Timeline(playing=playing, alive=True, tempo=tempo, anchor_time=10.0)


@pytest.mark.parametrize(
    ("release", "start"),
    [
        (12.2, 12.75),  # a beat of half a second, and on to the next eighth
        (12.02, 12.5),  # a beat less a little, as hands are: that is the eighth
        (12.26, 12.75),
        (12.3, 12.875),  # the eighth is far: a sixteenth
    ],
)
def test_with_a_beat_the_answer_comes_on_the_eighth_after_a_beat_of_rest(
    release: float, start: float
) -> None:
    decision = decide(_at(release + 0.45, last_release=release, beat=clock(120)), RULES)
    assert decision.start == pytest.approx(start)
    assert decision.start - release <= 1.5 * 0.5


def test_with_a_host_the_answer_ends_with_a_bar() -> None:
    host = clock(120)
    decision = decide(_at(12.7, beat=host, transport=host), RULES)
    assert decision.start == pytest.approx(12.75)
    assert decision.end == pytest.approx(16.0)  # two seconds at least, and to the bar line


def test_a_beat_too_slow_or_too_fast_to_wait_for_is_not_waited_for() -> None:
    for tempo in (30, 300):
        decision = decide(_at(13.4, beat=clock(tempo)), RULES)
        assert RULES.shortest_pause <= decision.start - 12.2 <= RULES.longest_pause


def test_a_beat_that_is_not_known_is_no_beat() -> None:
    decision = decide(_at(12.7, beat=BeatEstimate()), RULES)
    assert decision.start == pytest.approx(12.2 + pause_after(EIGHTHS, (), RULES))
