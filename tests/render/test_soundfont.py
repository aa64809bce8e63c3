"""SoundFonts: reading them, playing them, and making the built-in piano."""

from __future__ import annotations

import importlib.util
import struct
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from plugin_bridge.errors import BridgeError
from plugin_bridge.render.piano import Piano, builtin_soundfont, load_soundfont
from plugin_bridge.render.regions import regions
from plugin_bridge.render.soundfont import (
    LEFT,
    MONO,
    RIGHT,
    FormatError,
    Instrument,
    Preset,
    Sample,
    SoundFont,
    Zone,
    read,
)

ROOT = Path(__file__).parents[2]


def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_piano", ROOT / "tools" / "make_piano.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make_piano = tool()


def tone(name: bytes, kind: int, link: int = 0, period: int = 100) -> Sample:
    points = np.rint(np.sin(2 * np.pi * np.arange(2000) / period) * 20000).astype("<i2")
    return Sample(name, points.tobytes(), (1000, 2000), 44100, 69, 0, link, kind)


KEYS_LOW, KEYS_HIGH = (43, 0 | 59 << 8), (43, 60 | 127 << 8)
TINY = SoundFont(
    info=(
        (b"ifil", struct.pack("<HH", 2, 1)),
        (b"INAM", b"Tiny\0\0"),
        (b"ICMT", b"Free.\0"),
        (b"ICOP", b"Me\0\0"),
    ),
    presets=(
        Preset(b"Other", 5, 0, (Zone(((41, 0),)),)),
        Preset(b"Keys", 0, 0, (Zone(((48, 100),)), Zone((KEYS_LOW, (41, 1))), Zone((KEYS_HIGH, (41, 1))))),
    ),
    instruments=(
        Instrument(b"Unused", (Zone(((53, 0),)),)),
        Instrument(
            b"Stereo",
            (
                Zone(((54, 1), (38, 0)), ((1, 2, -3, 4, 5),)),
                Zone(((17, 0x10000 - 500), (53, 1))),
                Zone(((17, 500), (53, 3))),
            ),
        ),
    ),
    samples=(
        tone(b"Noise", MONO),
        tone(b"A(L)", LEFT),
        tone(b"Gap", MONO),
        tone(b"A(R)", RIGHT),
        tone(b"B(L)", LEFT),
    ),
)


def test_what_is_written_reads_back() -> None:
    assert read(make_piano.write(TINY)) == TINY


def test_a_preset_is_taken_with_what_it_needs_and_nothing_else() -> None:
    taken = make_piano.extract(TINY, 0, 0)
    assert [p.name for p in taken.presets] == [b"Keys"]
    assert [i.name for i in taken.instruments] == [b"Stereo"]
    assert [s.name for s in taken.samples] == [b"A(L)", b"A(R)"]
    assert [z.target(53) for z in taken.instruments[0].zones] == [None, 0, 1]
    assert [z.target(41) for z in taken.presets[0].zones] == [None, 0, 0]
    assert taken.instruments[0].zones[0] == TINY.instruments[1].zones[0]
    assert taken.samples[0].points == TINY.samples[1].points


@pytest.mark.parametrize(("left_link", "right_link"), [(0, 0), (3, 1), (4, 4)])
def test_stereo_halves_point_at_each_other(left_link: int, right_link: int) -> None:
    samples = list(TINY.samples)
    samples[1], samples[3] = replace(samples[1], link=left_link), replace(samples[3], link=right_link)
    taken = make_piano.extract(replace(TINY, samples=tuple(samples)), 0, 0)
    assert [(s.link, s.kind) for s in taken.samples] == [(1, LEFT), (0, RIGHT)]


def test_a_half_that_lost_its_other_side_becomes_mono() -> None:
    samples = list(TINY.samples)
    samples[3] = replace(samples[3], name=b"Else")
    taken = make_piano.extract(replace(TINY, samples=tuple(samples)), 0, 0)
    assert [(s.link, s.kind) for s in taken.samples] == [(0, MONO), (0, MONO)]


def test_samples_that_swell_late_lose_the_time_before_on_both_sides_alike() -> None:
    late = bytes(2 * 441)  # 10 ms
    samples = tuple(
        replace(each, points=late + each.points, loop=(each.loop[0] + 441, each.loop[1] + 441))
        if each.name.startswith(b"A")
        else each
        for each in TINY.samples
    )
    made = make_piano.quickened(make_piano.extract(replace(TINY, samples=samples), 0, 0))
    left, right = made.samples
    assert (left.points, left.loop) == (right.points, right.loop)
    assert make_piano.swell(made, left) == pytest.approx(make_piano.SWELL, abs=0.0005)
    whole = TINY.samples[1]
    assert left.points.endswith(whole.points)
    assert left.points[2 * left.loop[0] :] == whole.points[2 * whole.loop[0] :]


def test_samples_that_begin_in_time_stay_as_they_are() -> None:
    taken = make_piano.extract(TINY, 0, 0)
    assert make_piano.quickened(taken) == taken


def test_long_attacks_become_two_milliseconds_and_short_ones_stay() -> None:
    slow, quick = (34, 0x10000 - 8359), (34, 0x10000 - 12000)  # 8 ms and 1 ms in timecents
    zones = (Zone((slow, (53, 1))), Zone((quick, (53, 3))))
    font = replace(TINY, instruments=(TINY.instruments[0], Instrument(b"Stereo", zones)))
    attacks = [region.envelope.attack for region in regions(make_piano.quickened(font), 0, 0)]
    assert attacks[:2] == pytest.approx([0.002, 0.001], rel=0.03)


def test_the_result_is_reproducible_and_says_where_it_comes_from() -> None:
    source = make_piano.write(TINY)
    made = make_piano.make(source)
    assert made == make_piano.make(source)
    assert len(made) % 2 == 0
    info = dict(read(made).info)
    assert info[b"ICMT"].startswith(b"Free. Preset 0:0 of Tiny")
    assert info[b"ICOP"] == b"Me\0\0"


def test_the_tool_writes_a_file_or_says_why_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = tmp_path / "tiny.sf2", tmp_path / "keys.sf2"
    source.write_bytes(make_piano.write(TINY))
    assert make_piano.main([str(source), "-o", str(target)]) == 0
    assert load_soundfont(target).presets[0].name == b"Keys"
    assert make_piano.main([str(source), "-o", str(tmp_path / "no.sf2"), "--program", "9"]) == 2
    assert "no preset 9" in capsys.readouterr().err
    assert not (tmp_path / "no.sf2").exists()


def test_every_truncation_is_refused() -> None:
    data = make_piano.write(TINY)
    for length in range(0, len(data), 97):
        with pytest.raises(FormatError):
            read(data[:length])


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"sfbk", b"sfbX"), (b"pgen", b"pgeX"), (b"smpl", b"sm24"), (b"EOS\0", b"EOSX"), (b"LIST", b"LISX")],
)
def test_damage_is_refused_or_harmless(old: bytes, new: bytes) -> None:
    data = make_piano.write(TINY)
    assert old in data
    damaged = data.replace(old, new, 1)
    if old == b"EOS\0":  # the name of the terminal record means nothing
        assert read(damaged) == TINY
        return
    with pytest.raises(FormatError):
        read(damaged)


def test_a_sample_outside_the_data_is_refused() -> None:
    bad = replace(TINY, samples=(replace(TINY.samples[0], loop=(10, 5000)), *TINY.samples[1:]))
    with pytest.raises(FormatError, match="reaches outside"):
        read(make_piano.write(bad))


def test_a_zone_that_names_nothing_is_refused() -> None:
    lost = Instrument(b"Lost", (Zone(((53, 77),)),))
    with pytest.raises(FormatError, match="names record 77 of 5"):
        read(make_piano.write(replace(TINY, instruments=(TINY.instruments[0], lost))))


def test_a_tiny_soundfont_plays_in_tune_and_in_stereo() -> None:
    piano = Piano(44100, TINY)
    sound = piano.note(81, 127, 0.5)  # an octave above the root: 441 Hz becomes 882
    spectrum = np.abs(np.fft.rfft(sound[0, 2000:18000] * np.hanning(16000)))
    assert spectrum.argmax() * 44100 / 16000 == pytest.approx(882, abs=2)
    left_only = replace(
        TINY, samples=(*TINY.samples[:3], replace(TINY.samples[3], points=bytes(4000)), TINY.samples[4])
    )
    sides = np.abs(Piano(44100, left_only).note(69, 127, 0.2)).max(axis=1)
    assert sides[0] > 0.1
    assert sides[1] < 1e-6


def test_loops_go_round_without_a_click() -> None:
    """Sines of 441 Hz whose loop holds ten periods, five semitones lower: a sine still, far past the end."""
    sound = Piano(44100, TINY).note(64, 127, 2.0)[0, :88200]
    turn = 2 * np.pi * 441 * 2 ** (-5 / 12) / 44100 * np.arange(len(sound))
    wave = np.stack([np.sin(turn), np.cos(turn)])[:, 1000:]
    fitted = np.linalg.lstsq(wave.T, sound[1000:], rcond=None)[0] @ wave
    assert np.abs(fitted).max() > 0.1
    assert np.abs(sound[1000:] - fitted).max() < 2e-3 * np.abs(fitted).max()


@pytest.mark.parametrize("timecents", [-32768, -12000, 0])
def test_no_note_is_longer_than_the_room_that_is_asked_for(timecents: int) -> None:
    short = replace(
        TINY.instruments[1],
        zones=(Zone(((54, 1), (38, timecents & 0xFFFF))), *TINY.instruments[1].zones[1:]),
    )
    piano = Piano(192000, replace(TINY, instruments=(TINY.instruments[0], short)))
    for seconds in (0.0, 0.1, 40.0):
        assert 0 < piano.note(60, 90, seconds).shape[1] <= piano.longest(seconds)


def test_what_has_no_loop_ends_with_its_sample() -> None:
    once = tuple(
        replace(each, zones=tuple(replace(zone, generators=tuple(g for g in zone.generators if g[0] != 54))
                                  for zone in each.zones))
        for each in TINY.instruments
    )  # fmt: skip
    sound = Piano(44100, replace(TINY, instruments=once)).note(81, 127, 1.0)
    assert sound.shape == (2, 1000)  # 2000 points, an octave up
    assert np.abs(sound[:, 800:]).max() > 0.1


def test_high_notes_of_a_bright_sample_do_not_alias() -> None:
    bright = replace(TINY, samples=tuple(tone(each.name, each.kind, period=4) for each in TINY.samples))
    piano = Piano(44100, bright)
    as_it_is, up = (np.abs(piano.note(pitch, 127, 0.2)[:, 200:8000]).max() for pitch in (69, 88))
    assert as_it_is > 0.1
    assert up < 0.02 * as_it_is  # 11 kHz three times as fast would be 33 kHz


def test_ranges_of_preset_and_instrument_are_intersected() -> None:
    assert {region.keys for region in regions(TINY, 0, 0)} == {(0, 59), (60, 127)}
    assert all(region.looped for region in regions(TINY, 0, 0))
    with pytest.raises(BridgeError, match="no preset 7 in bank 0; it has 0:0, 0:5"):
        regions(TINY, 0, 7)


def test_the_builtin_piano_is_whole_and_carries_its_licence() -> None:
    font = builtin_soundfont()
    assert [(p.name, p.bank, p.program) for p in font.presets] == [(b"Yamaha Grand Piano", 0, 0)]
    assert len(font.samples) == 40
    for index, sample in enumerate(font.samples):
        other = font.samples[sample.link]
        assert other.link == index
        assert {sample.kind, other.kind} == {LEFT, RIGHT}
        assert sample.name[:-3] == other.name[:-3]
    licence = files("plugin_bridge.render").joinpath("data/piano.LICENSE.txt").read_text("utf-8")
    assert "Frank Wen" in licence
    assert "Permission is hereby granted, free of charge" in licence
    assert "THE SOFTWARE IS PROVIDED" in licence


def test_what_is_no_soundfont_is_named(tmp_path: Path) -> None:
    wrong = tmp_path / "song.sf2"
    wrong.write_bytes(b"MThd")
    with pytest.raises(BridgeError, match=r"song\.sf2 cannot be played"):
        load_soundfont(wrong)
    with pytest.raises(BridgeError, match=r"none\.sf2"):
        load_soundfont(tmp_path / "none.sf2")
