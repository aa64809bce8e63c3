"""WAV files on disk."""

from __future__ import annotations

import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from plugin_bridge.errors import BridgeError
from plugin_bridge.music.clip import Clip, Note
from plugin_bridge.music.events import Part
from plugin_bridge.render import audio as rendering
from plugin_bridge.render.audio import render_clip, render_wav
from plugin_bridge.render.levels import measure
from plugin_bridge.render.piano import Audio
from plugin_bridge.render.wav import write_wav


def samples(path: Path) -> np.ndarray:
    with wave.open(str(path)) as file:
        data = file.readframes(file.getnframes())
        width = file.getsampwidth()
    raw = np.frombuffer(data, np.uint8).reshape(-1, width)
    wide = np.zeros((len(raw), 4), np.uint8)
    wide[:, 4 - width :] = raw
    return (wide.view("<i4")[:, 0] / 2**31).reshape(-1, 2).T


@pytest.mark.parametrize("bits", [16, 24])
def test_header_and_samples_read_back(tmp_path: Path, bits: int) -> None:
    audio = np.random.default_rng(0).uniform(-1, 1, (2, 1000)).astype(np.float32)
    path = tmp_path / "take.wav"
    write_wav(path, audio, 48000, bits=bits)
    with wave.open(str(path)) as file:
        assert file.getparams()[:4] == (2, bits // 8, 48000, 1000)
    np.testing.assert_allclose(samples(path), audio, atol=2.0 ** (2 - bits))


def test_what_is_too_loud_is_cut_and_does_not_wrap(tmp_path: Path) -> None:
    path = tmp_path / "loud.wav"
    write_wav(path, np.array([[2.0, -3.0], [1.0, -1.0]], np.float32), 44100)
    np.testing.assert_allclose(samples(path), [[1, -1], [1, -1]], atol=1e-4)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_take_leaves_the_old_one(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "take.wav"
    path.write_bytes(b"old")

    def blocks() -> Iterator[Audio]:
        yield np.zeros((2, 100), np.float32)
        raise error

    with pytest.raises(error):
        write_wav(path, blocks(), 44100)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_no_sound_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "take.wav"
    with pytest.raises(ValueError, match="not numbers"):
        write_wav(path, np.full((2, 3), np.nan, np.float32), 44100)
    with pytest.raises(ValueError, match=r"\[2, samples\]"):
        write_wav(path, np.zeros((1, 3), np.float32), 44100)
    with pytest.raises(ValueError, match="16 or 24"):
        write_wav(path, np.zeros((2, 3), np.float32), 44100, bits=8)
    with pytest.raises(BridgeError, match="no folder"):
        write_wav(tmp_path / "none" / "take.wav", np.zeros((2, 3), np.float32), 44100)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_clip_goes_to_a_file_as_it_is_rendered(
    tmp_path: Path, in_memory: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rendering, "_IN_MEMORY_SECONDS", 300.0 if in_memory else 0.0)
    notes = [Note(t, t + 1, p, 127, Part(p % 2)) for t in (0, 1) for p in range(40, 60)]
    clip = Clip(tuple(sorted(notes)))
    path = tmp_path / "duet.wav"
    report = render_wav(clip, path, bits=24)
    audio = render_clip(clip)
    np.testing.assert_allclose(samples(path), audio, atol=1e-5)
    assert report.peak_dbfs == pytest.approx(-1.0, abs=0.01)
    expected = measure(audio, clip, 44100)
    assert (report.clipped_samples, report.silent_note_fraction) == (0, 0)
    assert report.seconds == expected.seconds
