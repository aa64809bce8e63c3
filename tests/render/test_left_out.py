"""The tool that finds when each note begins in a sound, by rendering the clip again without it."""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from plugin_bridge.music.clip import Clip, Note
from plugin_bridge.music.events import Part, Pedal
from plugin_bridge.render import BuiltInEffect, Output, Renderer
from plugin_bridge.render.audio import PAN, balance
from plugin_bridge.render.effects import DEFAULT_CHAIN
from plugin_bridge.render.encoding import encode
from plugin_bridge.render.piano import Audio, Piano

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
from left_out import apart, hold, onset, onsets

RATE = 44100
OUTPUT = Output(tail=2.0)
PIANO = Piano(RATE)
MUSIC = Clip(
    (
        *(
            Note(0.2 + 0.15 * n, 0.2 + 0.15 * n + held, pitch, 40 + 15 * (n % 6), part)
            for n, (pitch, held, part) in enumerate(
                (
                    (48, 0.9, Part.PARTNER),  # rings under all that follows
                    (64, 0.05, Part.PLAYER),
                    (67, 0.1, Part.PARTNER),
                    (67, 0.1, Part.PARTNER),  # struck again while the pedal holds it
                    (67, 0.3, Part.PARTNER),
                    (67, 0.1, Part.PARTNER),  # struck again while its key is down
                    (79, 0.1, Part.PLAYER),
                    (48, 0.1, Part.PARTNER),  # struck again while the pedal holds it
                    (55, 0.02, Part.PARTNER),
                    (36, 0.2, Part.PARTNER),
                    (84, 0.2, Part.PLAYER),
                    (60, 0.3, Part.PARTNER),
                )
            )
        ),
        Note(0.65, 0.9, 60, 50),
        Note(0.65, 0.9, 72, 110),
        Note(1.75, 2.0, 72, 90),
    ),
    (Pedal(0.4, True, Part.PARTNER), Pedal(1.2, False, Part.PARTNER)),
)


class LatePiano(Piano):
    """Plays the key E4 12 ms late."""

    def add(
        self, out: Audio, at: int, pitch: int, velocity: int, seconds: float,
        gains: tuple[float, float] = (1.0, 1.0),
    ) -> None:  # fmt: skip
        late = round(0.012 * self.sample_rate) if pitch == 64 else 0
        super().add(out, at + late, pitch, velocity, seconds, gains)

    def longest(self, seconds: float) -> int:
        return super().longest(seconds) + self.sample_rate


def found(clip: Clip, piano: Piano = PIANO, output: Output = OUTPUT) -> dict[tuple[float, int], float]:
    """Milliseconds from the start of each note to its onset, by start and pitch."""
    held = hold(clip, piano, DEFAULT_CHAIN, output)
    errors = {
        (note.start, note.pitch): (at - note.start) * 1000
        for note, at in onsets(held.audio, held)
        if at is not None
    }
    assert len(errors) == len(held.heard) == len(clip.notes)
    return errors


@pytest.fixture(scope="module")
def as_written() -> dict[tuple[float, int], float]:
    return found(MUSIC)


def test_the_rendering_that_is_taken_apart_is_the_one_that_users_get() -> None:
    with Renderer(output=OUTPUT) as renderer:
        sound = renderer(MUSIC)
    held = hold(MUSIC, PIANO, DEFAULT_CHAIN, OUTPUT)
    assert encode(held.audio, RATE, "wav24") == encode(sound.audio, RATE, "wav24")


@pytest.mark.parametrize("output", [OUTPUT, Output(tail=2.0, channels=1), Output(tail=2.0, loudness=-9)])
def test_what_single_notes_bring_adds_up_to_the_whole(output: Output) -> None:
    held = hold(MUSIC, PIANO, DEFAULT_CHAIN, output)
    assert np.abs(held.only(held.heard) - held.audio).max() < 1e-6
    assert np.abs(np.sum([held.only([note]) for note in held.heard], axis=0) - held.audio).max() < 1e-5
    assert not held.only([]).any()


def test_a_clip_without_a_note_is_all_its_other_notes() -> None:
    held = hold(MUSIC, PIANO, DEFAULT_CHAIN, OUTPUT)
    for note in held.heard:
        others = [each for each in held.heard if each is not note]
        assert np.abs(held.without([note]) - held.only(others)).max() < 1e-6


def test_every_note_of_a_clip_is_heard_within_10_ms_of_its_stroke(
    as_written: dict[tuple[float, int], float],
) -> None:
    assert min(as_written.values()) > -1
    assert max(as_written.values()) < 8


@pytest.mark.parametrize("milliseconds", [-15, 5, 15])
@pytest.mark.parametrize("chosen", range(3))
def test_notes_that_were_moved_are_found_moved_by_that_and_the_others_are_not(
    chosen: int, milliseconds: float, as_written: dict[tuple[float, int], float]
) -> None:
    """Every third note is moved."""
    shifts = [milliseconds if n % 3 == chosen else 0.0 for n in range(len(MUSIC.notes))]
    moved = tuple(
        replace(note, start=note.start + shift / 1000, end=note.end + shift / 1000)
        for note, shift in zip(MUSIC.notes, shifts, strict=True)
    )
    after = found(replace(MUSIC, notes=tuple(sorted(moved))))
    for note, played, shift in zip(MUSIC.notes, moved, shifts, strict=True):
        late = after[played.start, note.pitch] + (played.start - note.start) * 1000
        assert late - as_written[note.start, note.pitch] == pytest.approx(shift, abs=1.0), note


def test_a_key_that_plays_late_is_caught(as_written: dict[tuple[float, int], float]) -> None:
    wrong = found(MUSIC, LatePiano(RATE))
    for (start, pitch), error in wrong.items():
        late = 12 if pitch == 64 else 0
        assert error - as_written[start, pitch] == pytest.approx(late, abs=1.0), (start, pitch)
    assert max(wrong.values()) > 10


def test_a_note_that_is_late_in_the_file_alone_is_caught() -> None:
    held = hold(MUSIC, PIANO, DEFAULT_CHAIN, OUTPUT)
    file = hold(MUSIC, LatePiano(RATE), DEFAULT_CHAIN, OUTPUT).audio
    errors = {note.pitch: (at or 0) - note.start for note, at in onsets(file, held)}
    assert errors[64] > 0.012


def test_a_string_that_is_struck_again_leaves_silence_before_the_stroke() -> None:
    held = hold(MUSIC, PIANO, DEFAULT_CHAIN, OUTPUT)
    again = [note for note in held.heard if note.pitch == 67][1:]
    for note in again:
        remains = held.audio - held.without([note])
        at = round(note.start * RATE)
        assert np.abs(remains[:, :at]).max() < 1e-4 * np.abs(remains).max()


def test_a_part_without_its_only_note_stays_where_it_was() -> None:
    clip = Clip((Note(0.1, 0.5, 60, 90, Part.PLAYER), Note(0.1, 0.5, 67, 90, Part.PARTNER)))
    held = hold(clip, PIANO, (), Output(loudness=None))
    player = held.only([note for note in held.heard if note.part is Part.PLAYER])
    wanted = PIANO.note(60, 90, 0.4) * np.array(balance(PAN[Part.PLAYER]), np.float32)[:, None]
    at = round(0.1 * RATE)
    assert np.abs(player[:, at : at + RATE // 2] - wanted[:, : RATE // 2]).max() < 1e-6
    assert all(at is not None for _, at in onsets(held.audio, held))


@pytest.mark.parametrize("hertz", [65.4, 261.6, 2093.0])
def test_a_tone_that_begins_at_once_is_found_there(hertz: float) -> None:
    time = np.arange(RATE) / RATE
    sides = [np.where(time >= 0.5, np.sin(2 * np.pi * hertz * (time - 0.5) + p), 0.0) for p in (0.3, 1.9)]
    remains = np.array(sides, np.float32)
    assert onset(remains, RATE, 0.5) == pytest.approx(0.5, abs=0.0015)
    assert onset(remains, RATE, 0.44) == pytest.approx(0.5, abs=0.0015)
    assert onset(np.abs(remains) + np.float32(0.5), RATE, 0.5) is None  # never seen in silence
    assert onset(np.zeros_like(remains), RATE, 0.5) is None


@pytest.mark.parametrize("turned_up", [1.0, 1.25])
@pytest.mark.parametrize("velocity", [1, 20, 64, 120])
def test_every_key_of_the_piano_begins_within_8_ms_of_its_stroke(velocity: int, turned_up: float) -> None:
    """Also where a compressor turns the sound up meanwhile, having turned down a loud chord before."""
    gain = np.minimum(1 + (turned_up - 1) * np.arange(RATE) / (0.05 * RATE), turned_up)
    for pitch in range(21, 109):
        sound = PIANO.note(pitch, velocity, 0.3)[:, :RATE]
        remains = np.pad(sound * gain[: sound.shape[1]], ((0, 0), (RATE // 2, 0)))
        at = onset(remains.astype(np.float32), RATE, 0.5)
        assert at is not None
        assert 0.001 < at - 0.5 < 0.008, pitch


def test_a_sound_that_swells_for_long_is_judged_too() -> None:
    swelling = np.minimum(np.arange(RATE // 2) / (0.04 * RATE), 1.0) * np.sin(np.arange(RATE // 2) / 9)
    remains = np.pad(np.array([swelling, swelling], np.float32), ((0, 0), (RATE // 2, 0)))
    assert onset(remains, RATE, 0.5) == pytest.approx(0.52, abs=0.002)


def test_every_note_is_left_out_once_and_never_beside_one_that_still_rings() -> None:
    sets = apart(MUSIC.notes)
    assert sorted(note for notes in sets for note in notes) == sorted(MUSIC.notes)
    for notes in sets:
        for earlier, later in pairwise(notes):
            assert later.start >= earlier.end + 0.5


def test_what_does_more_than_turn_a_sound_up_and_down_is_refused() -> None:
    with pytest.raises(ValueError, match="Distortion"):
        hold(MUSIC, PIANO, (BuiltInEffect("Distortion"),), OUTPUT)
