"""The chords that were heard: all of the latest, by their places among all."""

from __future__ import annotations

from plugin_bridge.duet.heard_chords import KEPT, HeardChords
from plugin_bridge.music.chords import Chord
from plugin_bridge.music.clip import ChordSpan


def series(count: int) -> list[ChordSpan]:
    chords = [Chord("C"), Chord("A", "m"), None, Chord("F", "maj7", bass="A")]
    return [ChordSpan(1.5 * index, chords[index % 4]) for index in range(count)]


def heard(spans: list[ChordSpan]) -> HeardChords:
    chords = HeardChords()
    for span in spans:
        chords.append(span)
    return chords


def test_what_was_heard_comes_back_from_any_place_on() -> None:
    spans = series(10)
    chords = heard(spans)
    for count, expected in ((0, spans), (3, spans[3:]), (10, []), (99, [])):
        assert chords.since(count) == (tuple(expected), max(count, 10))
    assert chords.latest == spans[-1].chord
    assert HeardChords().latest is None


def test_of_very_many_the_latest_are_kept_and_places_stay_what_they_were() -> None:
    spans = series(5 * KEPT + 7)
    chords = heard(spans)
    assert len(chords) == len(spans)
    kept, reached = chords.since(0)
    assert list(kept) == spans[-len(kept) :]
    assert KEPT <= len(kept) <= 2 * KEPT
    assert reached == len(spans)  # who asks from there on is told nothing twice
    assert chords.since(reached) == ((), reached)
    assert chords.since(len(spans) - 5) == (tuple(spans[-5:]), reached)
