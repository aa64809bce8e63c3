"""What a rendered clip sounds like."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from plugin_bridge.errors import BridgeError
from plugin_bridge.music.clip import Clip, Note
from plugin_bridge.music.events import Part, Pedal
from plugin_bridge.render import audio as rendering
from plugin_bridge.render.audio import render_blocks, render_clip
from plugin_bridge.render.levels import measure
from plugin_bridge.render.piano import Audio, Piano, velocity_gain

RATE = 44100


@pytest.fixture(scope="module")
def piano() -> Piano:
    return Piano(RATE)


def clip(*notes: Note, pedals: tuple[Pedal, ...] = ()) -> Clip:
    return Clip(tuple(sorted(notes)), pedals)


def loudness(audio: Audio, start: float, end: float) -> float:
    """RMS in dBFS between two times."""
    piece = audio[:, round(start * RATE) : round(end * RATE)].astype(np.float64)
    return 20 * math.log10(math.sqrt(float((piece**2).mean())) + 1e-12)


def cents_off(audio: Audio, expected: float) -> float:
    """How far the strongest partial near `expected` Hz lies from it."""
    size = 1 << 19
    spectrum = np.abs(np.fft.rfft(audio[0] * np.hanning(audio.shape[1]), size))
    hertz = np.fft.rfftfreq(size, 1 / RATE)
    near = (hertz > expected * 0.94) & (hertz < expected * 1.06)
    assert spectrum[near].max() > 0.2 * spectrum.max()
    return float(1200 * math.log2(hertz[near][spectrum[near].argmax()] / expected))


@pytest.mark.parametrize(("pitch", "tolerance"), [(69, 3), (60, 3), (57, 5), (72, 5), (81, 8)])
def test_notes_are_in_tune(piano: Piano, pitch: int, tolerance: float) -> None:
    audio = render_clip(clip(Note(0, 2, pitch, 100)), piano=piano)
    assert abs(cents_off(audio, 440 * 2 ** ((pitch - 69) / 12))) < tolerance


def test_another_sample_rate_keeps_the_pitch() -> None:
    audio = Piano(22050).note(69, 100, 2.0)
    spectrum = np.abs(np.fft.rfft(audio[0] * np.hanning(audio.shape[1]), 1 << 18))
    assert spectrum.argmax() * 22050 / (1 << 18) == pytest.approx(440, abs=1)


@pytest.mark.parametrize("pitch", [0, 21, 60, 108, 127])
def test_every_key_sounds_and_dies_away(piano: Piano, pitch: int) -> None:
    sound = np.pad(piano.note(pitch, 100, 20.0), ((0, 0), (0, RATE * 20)))  # high ones are over early
    assert loudness(sound, 0.0, 0.3) > -55
    assert loudness(sound, 19.5, 20.0) < loudness(sound, 0.0, 0.3) - 20


def test_louder_velocity_is_louder_all_the_way(piano: Piano) -> None:
    levels = [loudness(piano.note(60, velocity, 0.5), 0, 0.5) for velocity in range(1, 128, 9)]
    assert levels == sorted(levels)
    assert 35 < levels[-1] - levels[0] < 50
    assert velocity_gain(127) == pytest.approx(1.0)
    assert velocity_gain(1) == pytest.approx(0.01, rel=0.02)


def test_soft_notes_are_darker(piano: Piano) -> None:
    def brightness(velocity: int) -> float:
        power = np.abs(np.fft.rfft(piano.note(60, velocity, 0.5)[0])) ** 2
        split = int(len(power) * 3000 / (RATE / 2))
        return float(power[split:].sum() / power.sum())

    assert brightness(20) < 0.5 * brightness(120)


@pytest.mark.parametrize("seconds", [0.001, 0.01, 0.05])
def test_the_shortest_notes_are_heard(piano: Piano, seconds: float) -> None:
    assert np.abs(piano.note(60, 90, seconds)).max() > 0.05


def test_there_is_silence_before_the_first_note(piano: Piano) -> None:
    audio = render_clip(clip(Note(0.5, 1, 60, 100)), piano=piano)
    assert not audio[:, : RATE // 2].any()
    assert audio[:, RATE // 2 : RATE // 2 + RATE // 50].any()


def test_length_is_the_clip_and_its_tail(piano: Piano) -> None:
    assert render_clip(clip(Note(0, 1.5, 60, 80)), tail=0.5, piano=piano).shape == (2, 2 * RATE)
    empty = render_clip(Clip(), tail=1.0, piano=piano)
    assert empty.shape == (2, RATE)
    assert not empty.any()
    assert render_clip(Clip(), tail=0.0, piano=piano).shape == (2, 0)


def test_the_pedal_sustains_its_own_part_only(piano: Piano) -> None:
    note, late = Note(0, 0.3, 60, 100, Part.PLAYER), Note(2.9, 3.0, 30, 1, Part.PLAYER)
    dry = render_clip(clip(note, late), piano=piano)
    held = (Pedal(0.1, True, Part.PLAYER), Pedal(2.5, False, Part.PLAYER))
    wet = render_clip(clip(note, late, pedals=held), piano=piano)
    other = render_clip(
        clip(note, late, pedals=tuple(replace(p, part=Part.PARTNER) for p in held)), piano=piano
    )
    assert loudness(wet, 1.5, 2.0) > loudness(dry, 1.5, 2.0) + 30
    np.testing.assert_array_equal(other, dry)
    assert loudness(wet, 2.8, 2.89) < loudness(wet, 2.3, 2.4) - 20


def test_a_fortissimo_cluster_does_not_clip(piano: Piano) -> None:
    cluster = clip(*(Note(0, 1, pitch, 127) for pitch in range(50, 70)))
    raw = max(float(np.abs(block).max()) for block in render_blocks(cluster, piano=piano))
    audio = render_clip(cluster, piano=piano)
    report = measure(audio, cluster, RATE)
    assert raw > 1.0
    assert report.clipped_samples == 0
    assert report.peak_dbfs == pytest.approx(-1.0, abs=0.01)
    assert report.silent_note_fraction == 0


def test_what_does_not_clip_keeps_its_level(piano: Piano) -> None:
    quiet = clip(Note(0, 1, 60, 40))
    raw = np.concatenate(list(render_blocks(quiet, piano=piano)), axis=1)
    np.testing.assert_array_equal(render_clip(quiet, piano=piano), raw)


def test_the_player_sits_left_and_the_partner_right(piano: Piano) -> None:
    def lean(*parts: tuple[float, Part]) -> Audio:
        return render_clip(clip(*(Note(t, t + 0.5, 60, 90, part) for t, part in parts)), tail=3, piano=piano)

    def side(audio: Audio, start: float) -> float:
        left, right = (
            float(np.square(channel[round(start * RATE) :][: RATE // 2]).sum()) for channel in audio
        )
        return 10 * math.log10(left / right)

    both, alone = lean((0, Part.PLAYER), (2, Part.PARTNER)), lean((0, Part.PARTNER))
    assert side(both, 0) == pytest.approx(side(alone, 0) + 3.5, abs=0.2)
    assert side(both, 2) == pytest.approx(side(alone, 0) - 3.5, abs=0.2)


def test_blocks_join_without_a_seam(piano: Piano, monkeypatch: pytest.MonkeyPatch) -> None:
    music = clip(*(Note(t / 4, t / 4 + 1, 48 + t, 80, Part(t % 2)) for t in range(16)))
    whole = render_clip(music, piano=piano)
    monkeypatch.setattr(rendering, "_BLOCK_SECONDS", 0.37)
    blocks = list(render_blocks(music, piano=piano))
    assert len(blocks) > 10
    np.testing.assert_allclose(np.concatenate(blocks, axis=1), whole, atol=1e-5)


def test_rendering_twice_gives_the_same_samples() -> None:
    music = clip(Note(0, 1, 60, 80), Note(0.2, 3, 64, 70, Part.PLAYER))
    np.testing.assert_array_equal(render_clip(music), render_clip(music))


def test_what_rings_at_the_end_is_faded(piano: Piano) -> None:
    audio = render_clip(clip(Note(0, 1, 40, 120), pedals=(Pedal(0, True, Part.PARTNER),)), piano=piano)
    assert loudness(audio, 2.0, 2.4) > -40
    assert np.abs(audio[:, -10:]).max() < 1e-4


def test_mistakes_are_named(piano: Piano) -> None:
    with pytest.raises(BridgeError, match="sample rate 10"):
        Piano(10)
    with pytest.raises(BridgeError, match="44100 Hz, not at 48000"):
        render_clip(Clip(), 48000, piano=piano)
    with pytest.raises(BridgeError, match="tail"):
        render_clip(Clip(), tail=-1, piano=piano)
    with pytest.raises(BridgeError, match=r"-0\.500 s"):
        render_clip(clip(Note(-0.5, 1, 60, 80)), piano=piano)
    with pytest.raises(BridgeError, match="4000 s is too long"):
        render_clip(clip(Note(0, 4000, 60, 80)), piano=piano)
