"""The beat from the notes alone: made performances whose beat is known, and playing that has none."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Sequence
from math import sin, tau
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugin_bridge.music.beat_tracking import (
    FASTEST,
    LEAST_CONFIDENCE,
    SILENCE,
    SLOWEST,
    BeatEstimate,
    BeatTracker,
)
from plugin_bridge.music.clip import Clip, Note
from plugin_bridge.music.midi_file import write_midi
from plugin_bridge.ports.host_clock import pull_to_grid

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
import score_beats

Onset = tuple[float, int]
Rhythm = Sequence[tuple[float, int]]

TUNE: Rhythm = [
    (0, 90),
    (1, 76),
    (1.5, 66),
    (2, 84),
    (3, 78),
    (4, 92),
    (4.5, 66),
    (5, 74),
    (5.5, 64),
    (6, 88),
]
"""Two bars of four: beats at which notes fall, and their velocities."""
EIGHTHS: Rhythm = [(i / 2, 84 if i % 2 == 0 else 68) for i in range(16)]
SPARSE: Rhythm = [(0, 90), (1.5, 70), (2, 84), (4, 90), (5, 76), (7.5, 66)]
"""Many beats have no note."""
RAG: Rhythm = [(i / 4, 70) for i in (0, 1, 3, 4, 6, 8, 9, 11, 12, 14, 16, 17, 19, 20, 22, 24, 28, 30)]
STRIDE: Rhythm = [*RAG, *((i, 84 + 6 * (i % 2 == 0)) for i in range(8)), *((i, 80) for i in range(8))]
"""Syncopated sixteenths over a left hand that keeps the beat, two keys at a time."""


def played(
    rhythm: Rhythm,
    time_of: Callable[[float], float],
    quarters: int,
    *,
    jitter: float = 0.015,
    swing: float = 0.5,
    seed: int = 0,
) -> list[Onset]:
    """`rhythm` again and again, the time of each quarter told by `time_of`, eighths late by `swing`."""
    draw = random.Random(seed)
    notes = []
    for bar in range(0, quarters, 8):
        for beat, velocity in rhythm:
            place = bar + beat + (swing - 0.5) * (beat % 1 == 0.5)
            notes.append((time_of(place) + draw.gauss(0, jitter), velocity + draw.randint(-4, 4)))
    return sorted(notes)


def steady(tempo: float) -> Callable[[float], float]:
    return lambda quarter: 3.0 + quarter * 60 / tempo


def bending(tempo_at: Callable[[float], float]) -> Callable[[float], float]:
    """Quarters to seconds where the tempo changes; added up in 96ths."""
    table = [3.0]
    for i in range(96 * 200):
        table.append(table[-1] + 0.625 / tempo_at(i / 96))
    return lambda quarter: table[round(quarter * 96)]


def found(onsets: Sequence[Onset], time_of: Callable[[float], float], quarters: int) -> float:
    """The F-measure of the beats told."""
    told, _ = score_beats.beats_told(onsets, LEAST_CONFIDENCE)
    return score_beats.f_measure([time_of(i) for i in range(quarters)], told)[0]


def found_at_some_level(onsets: Sequence[Onset], time_of: Callable[[float], float], quarters: int) -> float:
    """The same, with half notes or eighths for beats as good as quarters."""
    told, _ = score_beats.beats_told(onsets, LEAST_CONFIDENCE)
    levels = [
        [time_of(i / 2) for i in range(2 * quarters)],
        [time_of(i) for i in range(quarters)],
        [time_of(i) for i in range(0, quarters, 2)],
    ]
    return max(score_beats.f_measure(level, told)[0] for level in levels)


RHYTHMS = pytest.mark.parametrize(
    "rhythm", [TUNE, EIGHTHS, SPARSE, STRIDE], ids=["tune", "eighths", "sparse", "stride"]
)
JITTERS = pytest.mark.parametrize("jitter", [0.0, 0.01, 0.02])


@RHYTHMS
@JITTERS
@pytest.mark.parametrize("tempo", [84, 100, 112])
def test_a_steady_beat_is_found_through_human_jitter(rhythm: Rhythm, tempo: float, jitter: float) -> None:
    onsets = played(rhythm, steady(tempo), 64, jitter=jitter)
    assert found(onsets, steady(tempo), 64) > 0.85


@pytest.mark.parametrize("rhythm", [TUNE, EIGHTHS, STRIDE], ids=["tune", "eighths", "stride"])
@JITTERS
@pytest.mark.parametrize("tempo", [66, 132])
def test_a_slow_or_fast_beat_is_found_at_one_of_its_levels(
    rhythm: Rhythm, tempo: float, jitter: float
) -> None:
    onsets = played(rhythm, steady(tempo), 64, jitter=jitter)
    assert found_at_some_level(onsets, steady(tempo), 64) > 0.8


def test_the_tempo_is_told_within_two_percent() -> None:
    tracker = BeatTracker()
    for i, (time, velocity) in enumerate(played(TUNE, steady(112), 64)):
        tracker.hear(time, velocity)
        if i > 40:
            assert tracker.at(time).tempo == pytest.approx(112, rel=0.02)


@pytest.mark.parametrize("swing", [0.58, 2 / 3])
def test_swung_eighths_keep_their_beat(swing: float) -> None:
    onsets = played(TUNE, steady(120), 64, swing=swing, jitter=0.01)
    assert found(onsets, steady(120), 64) > 0.85


def test_missing_beats_do_not_lose_the_beat() -> None:
    draw = random.Random(3)
    onsets = [onset for onset in played(TUNE, steady(104), 96) if draw.random() < 0.7]
    assert found(onsets, steady(104), 96) > 0.8


def test_rubato_is_followed() -> None:
    """Eight per cent slower and faster every four bars."""
    time_of = bending(lambda quarter: 92 * (1 + 0.08 * sin(tau * quarter / 16)))
    assert found(played(TUNE, time_of, 96), time_of, 96) > 0.8


@pytest.mark.parametrize("after", [84, 120])
def test_a_new_tempo_is_taken_up_within_some_bars(after: float) -> None:
    time_of = bending(lambda quarter: 108 if quarter < 64 else after)
    onsets = played(TUNE, time_of, 128)
    told, _ = score_beats.beats_told(onsets, LEAST_CONFIDENCE)
    late = [beat for beat in told if beat > time_of(80)]
    assert score_beats.f_measure([time_of(i) for i in range(80, 128)], late)[0] > 0.85


@pytest.mark.parametrize("tempo", [80, 120])
def test_a_scale_without_accents_is_on_its_notes(tempo: float) -> None:
    """Even notes could be eighths or quarters: the beat is one of their levels, and on them."""
    tracker = BeatTracker()
    length = 30 / tempo
    draw = random.Random(1)
    for i in range(80):
        tracker.hear(3.0 + i * length + draw.gauss(0, 0.01), 70)
    estimate = tracker.at(3.0 + 79 * length)
    assert estimate.tempo is not None
    notes_a_beat = 60 / estimate.tempo / length
    assert notes_a_beat == pytest.approx(round(notes_a_beat), abs=0.05)
    beat = estimate.next_beat(20.0)
    assert beat is not None
    late = (beat - 3.0) / length
    assert late == pytest.approx(round(late), abs=0.25)


@pytest.mark.parametrize("seed", range(5))
def test_notes_at_random_have_mostly_no_beat(seed: int) -> None:
    draw = random.Random(seed)
    tracker, time, with_beat = BeatTracker(), 0.0, 0
    for _ in range(300):
        time += draw.expovariate(3)
        tracker.hear(time, draw.randint(40, 100))
        with_beat += tracker.at(time).tempo is not None
    assert with_beat < 100


def test_before_anything_is_played_there_is_no_beat() -> None:
    tracker = BeatTracker()
    assert tracker.at(5.0) == BeatEstimate()
    tracker.hear(5.0, 80)
    assert tracker.at(5.0).tempo is None
    assert tracker.at(5.0).confidence < LEAST_CONFIDENCE


def test_the_beat_goes_on_through_a_rest_and_ends_with_a_silence() -> None:
    tracker = BeatTracker()
    onsets = played(TUNE, steady(100), 48)
    for time, velocity in onsets:
        tracker.hear(time, velocity)
    last = onsets[-1][0]
    assert tracker.at(last + SILENCE - 0.1).tempo == pytest.approx(100, rel=0.02)
    assert tracker.at(last + SILENCE + 0.1) == BeatEstimate()


def test_after_a_silence_another_tempo_is_found_afresh() -> None:
    tracker = BeatTracker()
    for tempo in (72, 130):
        for time, velocity in played(STRIDE, steady(tempo), 32):
            tracker.hear(time + tempo * 10, velocity)
        assert tracker.at(time + tempo * 10).tempo == pytest.approx(tempo, rel=0.02)


def test_beats_are_counted_on_from_note_to_note() -> None:
    tracker = BeatTracker()
    positions = []
    onsets = played(TUNE, steady(100), 64)
    for time, velocity in onsets:
        tracker.hear(time, velocity)
        positions.append(tracker.at(time).position(time))
    passed = (onsets[-1][0] - onsets[30][0]) / 0.6
    assert positions[-1] is not None
    assert positions[30] is not None
    assert positions[-1] - positions[30] == pytest.approx(passed, abs=0.2)


def test_an_onset_is_pulled_to_the_beat_that_was_found() -> None:
    estimate = BeatEstimate(tempo=120, confidence=0.9, beat_time=10.0, beat=7)
    assert pull_to_grid(12.06, 1.0, 1.0, estimate) == pytest.approx(12.0)
    assert pull_to_grid(12.06, 1.0, 1.0, BeatEstimate()) == 12.06
    assert estimate.time_of(9) == pytest.approx(11.0)
    assert estimate.next_beat(10.01) == pytest.approx(10.5)


@given(st.lists(st.tuples(st.floats(0, 0.1) | st.floats(0, 20), st.integers(1, 127)), max_size=60))
def test_whatever_is_played_the_estimate_makes_sense(gaps: list[tuple[float, int]]) -> None:
    tracker, time = BeatTracker(0.0), 0.0
    for gap, velocity in gaps:
        time += gap
        tracker.hear(time, velocity)
        estimate = tracker.at(time)
        assert 0 <= estimate.confidence <= 1 + 1e-9
        assert estimate.tempo is not None
        assert SLOWEST * 0.99 <= estimate.tempo <= FASTEST * 1.01
        beat = estimate.next_beat(time)
        assert beat is not None
        assert time - 1e-3 <= beat <= time + 60 / SLOWEST + 1e-3


def test_beats_are_matched_once_and_within_seventy_milliseconds() -> None:
    truth = [5.0, 6.0, 7.0, 8.0]
    assert score_beats.f_measure(truth, [1.0, 5.06, 5.94, 6.06, 7.08])[0] == pytest.approx(2 * 2 / 8)
    assert score_beats.f_measure(truth, truth) == (1.0, 1.0)
    assert score_beats.f_measure(truth, []) == (0.0, 0.0)


def test_the_score_of_a_file_with_its_beats(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    notes = tuple(Note(time, time + 0.2, 60, velocity) for time, velocity in played(TUNE, steady(100), 64))
    path = tmp_path / "tune.mid"
    write_midi(Clip(notes), path)
    path.with_suffix(".beats.txt").write_text("".join(f"{steady(100)(i)} 1 0\n" for i in range(64)))
    assert score_beats.main([str(path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["mean"]["f"] > 0.85
    assert score_beats.main([str(path), "--track", "nobody"]) == 2
    assert "nobody" in capsys.readouterr().err
