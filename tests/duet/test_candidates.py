"""The score of a continuation: better music scores higher."""

from __future__ import annotations

from plugin_bridge.duet.candidates import Background, clash, continuity, in_range, repetition, score
from plugin_bridge.music.chords import parse_chord
from plugin_bridge.music.events import NoteOn, Part


def line(*pitches: int) -> list[NoteOn]:
    return [NoteOn(i * 0.2, pitch, 70, Part.PARTNER) for i, pitch in enumerate(pitches)]


CMAJ = Background(chord=parse_chord("Cmaj7"), recent=(60, 64, 67, 71))


def test_what_fits_the_chord_is_better() -> None:
    assert score(line(72, 71, 67), CMAJ) > score(line(73, 70, 66), CMAJ)


def test_a_rub_against_what_the_player_holds_is_worse() -> None:
    held = Background(player_holds=frozenset({60}), recent=(64,))
    assert score(line(64), held) > score(line(61), held)
    assert clash([61, 64], frozenset({60})) == 0.5
    assert clash([73], frozenset({60})) == 1.0  # a minor ninth
    assert clash([62], frozenset({60})) == 0.0


def test_being_stuck_is_worse_than_going_on() -> None:
    stuck = Background(recent=(60, 60, 60, 60))
    assert score(line(60, 60, 60), stuck) < score(line(62, 64, 65), stuck)
    assert repetition([60, 62, 60, 62], [60, 62, 60, 62]) == 1.0
    assert repetition([64, 65, 67], [60, 62]) == 0.0


def test_a_wild_leap_is_worse_than_a_step() -> None:
    assert continuity([62], [60]) == 1.0
    assert continuity([90], [60]) == 0.0
    assert in_range([60, 96], [60]) == 0.5


def test_silence_scores_nothing_and_without_a_past_nothing_is_held_against_it() -> None:
    assert score([], CMAJ) == 0.0
    assert score(line(20), Background()) == score(line(100), Background()) > 0
