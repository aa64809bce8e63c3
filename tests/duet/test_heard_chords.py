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
    assert [list(chords.since(count)) for count in (0, 3, 10, 99)] == [spans, spans[3:], [], []]
    assert chords.latest == spans[-1].chord
    assert HeardChords().latest is None


def test_of_very_many_the_latest_are_kept_and_places_stay_what_they_were() -> None:
    spans = series(5 * KEPT + 7)
    chords = heard(spans)
    assert len(chords) == len(spans)
    assert list(chords.since(0)) == spans[-len(chords.since(0)) :]
    assert KEPT <= len(chords.since(0)) <= 2 * KEPT
    assert list(chords.since(len(spans) - 5)) == spans[-5:]
