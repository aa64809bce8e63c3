"""Rendering one clip from Python: what is heard, when, and how it is measured."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from batches import DUET, write_duet
from fakes.vst3 import zam

from plugin_bridge.errors import BridgeError
from plugin_bridge.music.clip import Clip, Note
from plugin_bridge.music.events import Part, Pedal
from plugin_bridge.render import Output, Renderer, find_instruments
from plugin_bridge.render.encoding import decode
from plugin_bridge.render.mastering import integrated_loudness, true_peak
from plugin_bridge.render.renderer import midi_messages

ROOT = Path(__file__).parents[2]
SCALE = Clip(tuple(Note(0.5 * n, 0.5 * n + 0.3, 60 + 2 * n, 80) for n in range(6)))


def onsets(audio: np.ndarray, rate: int) -> list[float]:
    """Seconds at which the level rises by 20 dB within 10 ms and stays."""
    edges = np.arange(0, audio.shape[1], rate / 1000).astype(int)
    peaks = np.maximum.reduceat(np.abs(audio).max(axis=0), edges)
    found: list[float] = []
    for n in range(len(peaks)):
        before = peaks[max(n - 10, 0) : n].max(initial=1e-4)
        if peaks[n] > 10 * before and (not found or n / 1000 - found[-1] > 0.1):
            found.append(n / 1000)
    return found


@pytest.mark.parametrize("rate", [22050, 44100, 48000])
def test_onsets_in_the_sound_are_those_of_the_notes(synth: Path, rate: int) -> None:
    with Renderer(str(synth), "none", Output(sample_rate=rate)) as renderer:
        sound = renderer(SCALE)
    assert onsets(sound.audio, rate) == pytest.approx([note.start for note in SCALE.notes], abs=0.003)


@pytest.mark.parametrize("instrument", ["piano", "synth"])
def test_loudness_and_peak_are_what_was_asked_for(synth: Path, instrument: str) -> None:
    chosen = str(synth) if instrument == "synth" else instrument
    with Renderer(chosen, output=Output(loudness=-20, peak=-2)) as renderer:
        sound = renderer(SCALE)
    assert integrated_loudness(sound.audio, 44100) == pytest.approx(-20, abs=0.5)
    assert sound.loudness == pytest.approx(-20, abs=0.5)
    top = true_peak(sound.audio)
    assert top is not None and top <= -2
    assert sound.true_peak == pytest.approx(top)


def test_the_sound_begins_and_ends_in_silence_without_a_click() -> None:
    with Renderer() as renderer:
        audio = renderer(SCALE).audio
    assert np.abs(audio[:, [0, -1]]).max() < 1e-5
    assert np.abs(audio[:, -441:]).max() < 10 ** (-60 / 20) * np.abs(audio).max()


def test_a_plugin_effect_in_a_chain(tmp_path: Path) -> None:
    chain = tmp_path / "chain.toml"
    chain.write_text(
        f'[[effect]]\nplugin = "{zam("ZamCompX2")}"\nparameters = {{ threshold_db = -40.0, ratio = 20.0 }}\n'
        '[[effect]]\ntype = "Gain"\ngain_db = -3.0\n'
    )
    loud = Output(loudness=None)
    with Renderer(effects=str(chain), output=loud) as pressed, Renderer(effects="none", output=loud) as plain:
        first, second = pressed(SCALE), plain(SCALE)
    assert first.loudness is not None and second.loudness is not None
    assert first.loudness < second.loudness - 4


def test_mono_is_one_channel_and_stems_are_the_parts() -> None:
    with Renderer(output=Output(channels=1, stems=True)) as renderer:
        sound = renderer(DUET)
    assert sound.audio.shape[0] == 1
    assert set(sound.stems) == set(Part)
    assert all(stem.shape == sound.audio.shape for stem in sound.stems.values())


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "ogg"])
def test_a_sound_is_written_as_its_name_says(tmp_path: Path, suffix: str) -> None:
    with Renderer() as renderer:
        sound = renderer(write_duet(tmp_path / "duet.mid"))
    sound.write(tmp_path / f"duet.{suffix}")
    back = decode((tmp_path / f"duet.{suffix}").read_bytes())
    assert back.shape[1] / 44100 == pytest.approx(sound.seconds, abs=0.1)
    with pytest.raises(BridgeError, match="choose one of the suffixes wav, flac, mp3, ogg"):
        sound.write(tmp_path / "duet.aiff")


def test_a_clip_without_notes_or_without_end_is_refused() -> None:
    with Renderer() as renderer:
        with pytest.raises(BridgeError, match="has no notes"):
            renderer(Clip())
        with pytest.raises(BridgeError, match="lasts 7200 s"):
            renderer(Clip((Note(0, 7200, 60, 60),)))


def test_messages_of_one_moment_are_note_offs_pedals_then_note_ons() -> None:
    clip = Clip((Note(0, 1, 60, 80), Note(1, 2, 60, 90)), (Pedal(1, True, Part.PARTNER),))
    assert [data.hex() for data, time in midi_messages(clip) if time == 1] == ["803c00", "b0407f", "903c5a"]


def test_what_is_found_is_described_and_what_fails_says_why(synth: Path, tmp_path: Path) -> None:
    broken = tmp_path / "Broken.vst3"
    broken.write_bytes(b"not a plugin")
    piano, instrument, effect, failed = find_instruments([synth, zam("ZamCompX2"), broken], ())
    assert piano.kind == "piano"
    assert (instrument.kind, instrument.maker) == ("instrument", "Plugin Bridge")
    assert [each["name"] for each in instrument.parameters] == ["gain", "release", "fault"]
    assert effect.kind == "effect"
    assert failed.kind == "failed" and "plugin Broken: " in failed.reason


def test_the_example_of_the_documentation_runs(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "render.md").read_text(encoding="utf-8")
    [example] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "example.py").write_text(example, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "example.py"], cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "chart.flac").stat().st_size > 10_000
    assert (tmp_path / "variations" / "index.html").exists()
