"""Real plugins in processes of their own: what they play, when, how loud; and what happens when they fail."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from fakes.vst3 import zam

from plugin_bridge.errors import BridgeError
from plugin_bridge.render.instruments import PluginSpec
from plugin_bridge.render.piano import Audio
from plugin_bridge.render.plugin_host import PluginHost

RATE = 44100
FAULTY_KEY = 0


def on(pitch: int, velocity: int = 100) -> bytes:
    return bytes((0x90, pitch, velocity))


def off(pitch: int) -> bytes:
    return bytes((0x80, pitch, 0))


def pedal(value: int) -> bytes:
    return bytes((0xB0, 64, value))


def heard(audio: Audio) -> tuple[float, float]:
    """Seconds from which and up to which there is sound."""
    loud = np.flatnonzero(np.abs(audio).max(axis=0) > 1e-4)
    return loud[0] / RATE, loud[-1] / RATE


def frequency(audio: Audio) -> float:
    """Hertz of the strongest partial, to a quarter of a hertz."""
    windowed = audio[0] * np.hanning(audio.shape[1])
    return float(np.abs(np.fft.rfft(windowed, 4 * RATE)).argmax() / 4)


def save_preset(plugin: Path, path: Path, parameter: str, value: float) -> None:
    """Save a preset as a DAW would, in a process of its own."""
    code = (
        "import re, sys, numpy\n"
        "from pedalboard import _pedalboard as own, load_plugin\n"
        "own.PARAMETER_NAME_REGEXES_TO_IGNORE.add(re.compile('MIDI Ch'))\n"
        "plugin = load_plugin(sys.argv[1], {sys.argv[3]: float(sys.argv[4])})\n"
        "plugin.reset()\n"
        "plugin([], 0.1, 44100) if plugin.is_instrument else plugin(numpy.zeros((2, 512), 'f4'), 44100)\n"
        "open(sys.argv[2], 'wb').write(plugin.preset_data)\n"
    )
    command = [sys.executable, "-c", code, str(plugin), str(path), parameter, str(value)]
    subprocess.run(command, check=True, capture_output=True)


def test_a_440_in_is_440_hz_out(synth: Path) -> None:
    with PluginHost(PluginSpec(synth)) as host:
        audio = host.play([(on(69), 0.25), (off(69), 1.25)], 1.5, RATE, 2.0)
    assert frequency(audio[:, RATE // 2 : RATE]) == pytest.approx(440, abs=1)


@pytest.mark.parametrize("start", [0.0, 0.1, 0.501, 0.99998])
def test_a_note_begins_at_its_sample(synth: Path, start: float) -> None:
    with PluginHost(PluginSpec(synth)) as host:
        audio = host.play([(on(69), start), (off(69), start + 0.2)], start + 0.3, RATE, 1.0)
    first = int(np.flatnonzero(audio[0])[0])
    assert abs(first - start * RATE) <= 2


def test_velocity_is_level(synth: Path) -> None:
    with PluginHost(PluginSpec(synth)) as host:
        soft, loud = (
            float(np.abs(host.play([(on(69, v), 0.0), (off(69), 0.4)], 0.5, RATE, 1.0)).max())
            for v in (32, 127)
        )
    assert loud / soft == pytest.approx(127 / 32, rel=0.01)


def test_the_pedal_holds_what_the_key_let_go(synth: Path) -> None:
    keys = [(on(69), 0.1), (off(69), 0.3)]
    with PluginHost(PluginSpec(synth)) as host:
        _, without = heard(host.play(keys, 1.2, RATE, 1.0))
        _, held = heard(host.play([(pedal(127), 0.05), *keys, (pedal(0), 1.0)], 1.2, RATE, 1.0))
    assert without == pytest.approx(0.35, abs=0.05)
    assert held == pytest.approx(1.05, abs=0.05)


def test_a_tail_is_played_until_it_is_silent(synth: Path) -> None:
    with PluginHost(PluginSpec(synth, parameters=(("release", 3.0),))) as host:
        audio = host.play([(on(69), 0.0), (off(69), 0.2)], 0.3, RATE, 10.0)
        short = host.play([(on(69), 0.0), (off(69), 0.2)], 0.3, RATE, 1.0)
    tail = audio[:, round(0.3 * RATE) :]
    assert 3.0 < tail.shape[1] / RATE < 6.0
    assert np.abs(tail[:, -100:]).max() < 1e-4 * np.abs(audio).max()
    assert short.shape[1] == round(1.3 * RATE)


def test_the_same_clip_twice_is_the_same_sound(synth: Path) -> None:
    messages = [(on(60), 0.0), (on(67), 0.1), (off(60), 0.4), (off(67), 0.5)]
    with PluginHost(PluginSpec(synth)) as host:
        first = host.play(messages, 0.6, RATE, 1.0)
        host.play([(on(40), 0.0)], 0.2, RATE, 0.0)  # and leaves a note hanging
        assert np.array_equal(first, host.play(messages, 0.6, RATE, 1.0))


def test_a_parameter_sets_what_it_names(synth: Path) -> None:
    loudest = []
    for gain in (0.25, 1.0):
        with PluginHost(PluginSpec(synth, parameters=(("gain", gain),))) as host:
            loudest.append(float(np.abs(host.play([(on(69), 0.0)], 0.5, RATE, 0.0)).max()))
    assert loudest[1] / loudest[0] == pytest.approx(4, rel=0.01)


def test_a_crash_costs_one_request_and_is_named(synth: Path) -> None:
    host = PluginHost(PluginSpec(synth, parameters=(("fault", 1.0),)))
    with host:
        with pytest.raises(BridgeError, match=r"plugin BridgeTestSynth crashed \(SIGABRT\)"):
            host.play([(on(FAULTY_KEY), 0.0)], 0.5, RATE, 1.0)
        audio = host.play([(on(69), 0.0)], 0.5, RATE, 0.0)
    assert frequency(audio) == pytest.approx(440, abs=2)


def test_a_hang_is_ended_and_named(synth: Path) -> None:
    host = PluginHost(PluginSpec(synth, parameters=(("fault", 2.0),)), time_limit=5.0)
    with host, pytest.raises(BridgeError, match="BridgeTestSynth did not answer within 5 s"):
        host.play([(on(FAULTY_KEY), 0.0)], 0.5, RATE, 1.0)


def test_a_real_effect_changes_the_sound_and_keeps_its_time() -> None:
    tone = np.zeros((2, RATE), np.float32)
    tone[:, 4410:] = 0.8 * np.sin(2 * np.pi * 440 * np.arange(RATE - 4410) / RATE)
    spec = PluginSpec(zam("ZamCompX2"), parameters=(("threshold_db", -30.0), ("ratio", 10.0)))
    with PluginHost(spec) as host:
        pressed = host.process(tone, RATE, 2.0)
    assert heard(pressed)[0] == pytest.approx(heard(tone)[0], abs=0.002)
    assert frequency(pressed[:, : RATE // 2]) == pytest.approx(440, abs=1)
    assert np.abs(pressed[:, RATE // 2 : RATE]).max() < 0.5 * np.abs(tone).max()


def test_a_mono_effect_is_given_each_side_by_itself() -> None:
    sides = np.zeros((2, RATE), np.float32)
    sides[0, 1000:1100] = 0.5
    with PluginHost(PluginSpec(zam("ZamDelay"), parameters=(("dry_wet", 0.0),))) as host:
        through = host.process(sides, RATE, 1.0)
    assert np.abs(through[0]).max() > 0.1
    assert np.abs(through[1]).max() < 1e-6


def test_presets_are_taken_from_their_own_plugin_only(synth: Path, tmp_path: Path) -> None:
    own, other = tmp_path / "own.vstpreset", tmp_path / "other.vstpreset"
    save_preset(synth, own, "gain", 0.125)
    save_preset(zam("ZamCompX2"), other, "ratio", 2.0)
    with PluginHost(PluginSpec(synth, preset=own)) as host:
        level = float(np.abs(host.play([(on(69, 127), 0.0)], 0.5, RATE, 0.0)).max())
    assert level == pytest.approx(0.125, rel=0.02)
    with (
        PluginHost(PluginSpec(synth, preset=other)) as host,
        pytest.raises(BridgeError, match=r"BridgeTestSynth: preset .*other.vstpreset belongs to another"),
    ):
        host.describe("instrument", RATE)


def test_what_is_wrong_with_a_plugin_is_known_before_it_plays(synth: Path, tmp_path: Path) -> None:
    spec = PluginSpec(synth)
    empty = tmp_path / "Empty.vst3"
    empty.mkdir()
    cases: tuple[tuple[PluginSpec, Literal["instrument", "effect"], str], ...] = (
        (replace(spec, parameters=(("gain", 5.0),)), "instrument", "parameter gain: 5.0 is out of range"),
        (
            replace(spec, parameters=(("volume", 1.0),)),
            "instrument",
            "has no parameter 'volume'; it has gain",
        ),
        (spec, "effect", "is an instrument, not an effect"),
        (PluginSpec(zam("ZamCompX2")), "instrument", "is an effect, not an instrument"),
        (PluginSpec(empty), "instrument", "plugin Empty: "),
    )
    for wrong, use, about in cases:
        with PluginHost(wrong) as host, pytest.raises(BridgeError) as caught:
            host.describe(use, RATE)
        assert about in str(caught.value)
        assert "\n" not in str(caught.value)
