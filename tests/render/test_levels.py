"""Measuring sound."""

from __future__ import annotations

import math

import numpy as np
import pytest

from plugin_bridge.music.clip import Clip, Note
from plugin_bridge.render.levels import measure

RATE = 1000


def tone(level: float, seconds: float) -> np.ndarray:
    wave = np.sin(2 * np.pi * 50 * np.arange(round(seconds * RATE)) / RATE) * level
    return np.stack([wave, wave]).astype(np.float32)


def test_a_note_without_sound_is_counted_as_silent() -> None:
    audio = np.concatenate([tone(0.5, 1), tone(0, 1), tone(0.0005, 1), tone(0.002, 1)], axis=1)
    notes = tuple(Note(t, t + 0.9, 60, 80) for t in (0.0, 1.1, 2.0, 3.0))
    report = measure(audio, Clip(notes), RATE)
    assert report.silent_note_fraction == 0.5  # -66 dBFS is silent, -57 dBFS is not
    assert report.peak_dbfs == pytest.approx(20 * math.log10(0.5), abs=0.1)
    assert report.seconds == 4.0


def test_clipped_samples_are_counted_in_both_channels() -> None:
    audio = np.zeros((2, 100), np.float32)
    audio[0, 5], audio[1, 6], audio[0, 7] = 1.5, -1.01, 1.0
    assert measure(audio, Clip(), RATE).clipped_samples == 2


def test_silence_has_no_peak_and_no_notes_are_no_fault() -> None:
    report = measure(np.zeros((2, 0), np.float32), Clip(), RATE)
    assert report.peak_dbfs == -math.inf
    assert report.silent_note_fraction == 0
    assert report.as_dict()["peak_dbfs"] is None


def test_a_note_past_the_end_of_the_sound_is_silent() -> None:
    assert measure(tone(0.5, 1), Clip((Note(5, 6, 60, 80),)), RATE).silent_note_fraction == 1


def test_blocks_measure_like_the_whole() -> None:
    audio = np.concatenate([tone(0.3, 0.73), tone(0, 0.5), tone(0.7, 0.51)], axis=1)
    notes = Clip((Note(0, 0.5, 60, 80), Note(0.8, 1.1, 60, 80), Note(1.3, 1.7, 60, 80)))
    blocks = [audio[:, at : at + 77] for at in range(0, audio.shape[1], 77)]
    assert measure(iter(blocks), notes, RATE) == measure(audio, notes, RATE)
