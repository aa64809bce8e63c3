"""When notes are heard: the built-in piano, and the tool that judges onsets in rendered sound."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from plugin_bridge.music.clip import Clip, Note
from plugin_bridge.render import Renderer
from plugin_bridge.render.audio import render_clip
from plugin_bridge.render.piano import Audio, Piano

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
from note_onsets import onset_errors, own_partials

RATE = 44100
CHORDS = Clip(
    tuple(
        Note(0.5 + 0.4 * n, 0.8 + 0.4 * n, pitch, 50 + 10 * (n % 5))
        for n, chord in enumerate(((67, 76), (48,), (64, 74), (55,), (62, 71), (50,), (69, 77)) * 3)
        for pitch in chord
    )
)


def moved(clip: Clip, milliseconds: float, pitches: set[int]) -> Clip:
    return replace(
        clip,
        notes=tuple(
            replace(note, start=note.start + milliseconds / 1000) if note.pitch in pitches else note
            for note in clip.notes
        ),
    )


def struck(notes: tuple[Note, ...]) -> Audio:
    """Ten harmonics that begin at once, in different phases."""
    time = np.arange(round((notes[-1].end + 1) * RATE)) / RATE
    mono = np.zeros(len(time))
    for note in notes:
        since = time - note.start
        hertz = 440 * 2 ** ((note.pitch - 69) / 12)
        tone = sum(np.sin(2 * np.pi * k * hertz * since + k * k) / k for k in range(1, 11))
        mono += np.where(since >= 0, tone * np.exp(-6 * since.clip(0)), 0.0)
    return np.stack([mono, mono]).astype(np.float32)


def test_an_onset_that_is_known_is_found_where_it_is() -> None:
    notes = tuple(Note(0.5 + 0.5 * n, 0.8 + 0.5 * n, 45 + 5 * n, 80) for n in range(8))
    errors = [error for _, error in onset_errors(struck(notes), RATE, Clip(notes))]
    assert len(errors) == len(notes)
    assert errors == pytest.approx([0.0] * len(notes), abs=2.5)


@pytest.mark.parametrize("velocity", [20, 64, 120])
def test_every_key_of_the_piano_is_heard_within_10_ms_of_its_stroke(velocity: int) -> None:
    clip = Clip(tuple(Note(0.7 * n, 0.7 * n + 0.2, pitch, velocity) for n, pitch in enumerate(range(24, 92))))
    errors = [error for _, error in onset_errors(render_clip(clip), RATE, clip)]
    assert len(errors) == len(clip.notes)
    assert max(np.abs(errors)) < 8


@pytest.mark.parametrize("milliseconds", [-15, 5, 15])
def test_notes_that_were_moved_are_found_moved(milliseconds: float) -> None:
    melody = {48, 74, 76, 71, 77}
    with Renderer() as renderer:
        before = dict(onset_errors(renderer(CHORDS).audio, RATE, CHORDS))
        after = dict(onset_errors(renderer(moved(CHORDS, milliseconds, melody)).audio, RATE, CHORDS))
    both = [note for note in before if note in after]
    shifts = {note: after[note] - before[note] for note in both}
    assert sum(note.pitch in melody for note in both) >= 6
    assert sum(note.pitch not in melody for note in both) >= 6
    assert max(map(abs, before.values())) < 10
    for note, shift in shifts.items():
        assert shift == pytest.approx(milliseconds if note.pitch in melody else 0, abs=4.5), note


def test_notes_that_begin_close_to_others_are_not_judged() -> None:
    alone, early, late = Note(1.0, 1.5, 60, 80), Note(2.0, 2.5, 60, 80), Note(2.05, 2.5, 67, 80)
    clip = Clip((alone, early, late))
    assert len(own_partials(alone, clip)) >= 10
    assert len(own_partials(early, clip)) == len(own_partials(late, clip)) == 0


def test_a_note_is_judged_by_partials_that_its_chord_does_not_have() -> None:
    low, octave, other = (Note(1.0, 1.5, pitch, 80) for pitch in (57, 69, 64))
    clip = Clip((low, octave, other))
    assert len(own_partials(octave, clip)) == 0  # all of them are partials of the low one too
    assert own_partials(low, clip)[:2] == pytest.approx([220.0, 1100.0])


def test_no_key_of_the_piano_clicks_when_it_is_struck() -> None:
    piano = Piano(RATE)
    for pitch in range(21, 109):
        sound = piano.note(pitch, 100, 0.2)
        steps = np.abs(np.diff(sound, axis=1, prepend=0)).max(axis=0)
        assert steps[: RATE // 500].max() < 0.6 * steps[RATE // 100 :].max(), pitch
