"""Keys heard in what is played."""

from __future__ import annotations

from itertools import pairwise
from math import inf

import pytest
from hypothesis import given
from music_strategies import clips

from plugin_bridge.music.clip import Clip, Note
from plugin_bridge.music.events import NoteOff, NoteOn, Pedal
from plugin_bridge.music.key_detection import (
    ALBRECHT_SHANAHAN,
    KEYS,
    KRUMHANSL_KESSLER,
    Key,
    KeyDetector,
    KeyRules,
    detect_key,
    detect_keys,
)

MAJOR_CADENCE = ((0, 4, 7), (5, 9, 0), (7, 11, 2), (0, 4, 7))
MINOR_CADENCE = ((0, 3, 7), (5, 8, 0), (7, 11, 2), (0, 3, 7))


def cadence(key: Key, start: float = 0.0, times: int = 1) -> list[Note]:
    chords = (MAJOR_CADENCE if key.mode == "major" else MINOR_CADENCE) * times
    return [
        Note(start + i, start + i + 0.9, 48 + (key.tonic + step) % 12, 80)
        for i, chord in enumerate(chords)
        for step in chord
    ]


@pytest.mark.parametrize("profiles", [ALBRECHT_SHANAHAN, KRUMHANSL_KESSLER])
@pytest.mark.parametrize("key", KEYS, ids=str)
def test_a_cadence_tells_its_key(key: Key, profiles: tuple[tuple[float, ...], ...]) -> None:
    assert detect_key(Clip(tuple(sorted(cadence(key)))), profiles) == key


def test_a_key_has_a_name_a_scale_and_a_relative() -> None:
    assert [str(key) for key in (Key(0, "major"), Key(6, "major"), Key(6, "minor"))] == [
        "C major",
        "F# major",
        "F# minor",
    ]
    assert Key(9, "minor").relative == Key(0, "major")
    for key in KEYS:
        assert key.relative.relative == key
        assert key.relative.pitch_classes == key.pitch_classes


def test_a_modulation_is_followed_as_the_old_key_is_forgotten() -> None:
    c, e = Key(0, "major"), Key(4, "major")
    clip = Clip(tuple(sorted(cadence(c, 0.0, 5) + cadence(e, 20.0, 8))))
    spans = detect_keys(clip)
    assert [span.key for span in (spans[0], spans[-1])] == [c, e]
    assert 20.0 < spans[-1].start < 45.0
    assert detect_keys(clip, KeyRules(forget=inf))[-1].key != e  # what never forgets still hears both


def test_a_chord_from_outside_does_not_change_the_key() -> None:
    c = Key(0, "major")
    notes = [*cadence(c, 0.0, 4), *(Note(16.0, 16.9, pitch, 80) for pitch in (50, 54, 57)), *cadence(c, 17.0)]
    assert [span.key for span in detect_keys(Clip(tuple(sorted(notes))))] == [c]


def test_one_chord_too_few_pitch_classes_no_key() -> None:
    detector = KeyDetector()
    assert detector.key_at(0.0) is None
    detector.hear(NoteOn(0.0, 60, 80))
    detector.hear(NoteOn(0.0, 67, 80))
    assert detector.key_at(2.0) is None
    assert detect_key(Clip()) is None


def test_all_pitch_classes_alike_tell_no_key() -> None:
    cluster = Clip(tuple(Note(0.0, 1.0, pitch, 80) for pitch in range(60, 72)))
    assert detect_key(cluster) is None


def test_notes_under_the_pedal_count_while_they_sound() -> None:
    def after(pedal: bool) -> Key | None:
        detector = KeyDetector(KeyRules(fade=4.0))
        detector.hear(Pedal(0.0, pedal))
        for start, end, chord in ((0.0, 0.05, (61, 65, 68)), (3.0, 3.5, (60, 64, 67))):
            for pitch in chord:
                detector.hear(NoteOn(start, pitch, 80))
            for pitch in chord:
                detector.hear(NoteOff(end, pitch))
            detector.hear(Pedal(max(end, 3.0), False))
        return detector.key_at(3.5)

    assert after(False) == Key(0, "major")
    assert after(True) == Key(1, "major")


@given(clips(on_grid=False))
def test_any_performance_has_keys_in_order_or_none(clip: Clip) -> None:
    spans = detect_keys(clip)
    assert [span.start for span in spans] == sorted(span.start for span in spans)
    assert all(a.key != b.key for a, b in pairwise(spans))
