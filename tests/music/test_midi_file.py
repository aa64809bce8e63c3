"""MIDI files: what is written is read back, and nothing that can be in a file does harm."""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path

import mido
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from music_strategies import chunk, clips, midi_bytes

from plugin_bridge.errors import BridgeError
from plugin_bridge.music import midi_bytes as parser
from plugin_bridge.music.chords import parse_chord
from plugin_bridge.music.clip import Beat, ChordSpan, Clip, Note, clip_from_events
from plugin_bridge.music.events import Part, Pedal
from plugin_bridge.music.midi_file import LARGEST_FILE, MidiFile, read_midi, write_midi
from plugin_bridge.music.rhythm import steady_beats

ON, OFF = b"\x90\x3c\x50", b"\x80\x3c\x00"
NOTE = b"\x00" + ON + b"\x83\x60" + OFF
"""Middle C from tick 0 to 480."""


def read(folder: Path, data: bytes) -> MidiFile:
    path = folder / "in.mid"
    path.write_bytes(data)
    return read_midi(path)


def reason(folder: Path, data: bytes) -> str:
    with pytest.raises(BridgeError) as caught:
        read(folder, data)
    text = str(caught.value)
    assert "in.mid" in text
    assert "\n" not in text
    return text


def spans(midi: MidiFile) -> list[tuple[float, float, int, int]]:
    return [(n.start, n.end, n.pitch, n.velocity) for n in midi.clip(drums=True).notes]


def written(clip: Clip, tempo: float = 120.0) -> MidiFile:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "out.mid"
        write_midi(clip, path, tempo=tempo)
        return read_midi(path)


# What is written is read back.


@settings(max_examples=50)
@given(clips(), st.floats(30, 300))
def test_notes_and_pedals_are_read_back_to_a_tick(clip: Clip, tempo: float) -> None:
    clip = clip_from_events(clip.events())  # as a keyboard plays: no key overlaps itself
    midi, tick = written(clip, tempo), 60 / tempo / 480
    for part in Part:
        wanted = clip.part(part)
        found = [track for track in midi.tracks if track.channel == part]
        notes = sorted((n.pitch, n.start, n.end, n.velocity) for t in found for n in t.notes)
        expected = sorted((n.pitch, n.start, n.end, n.velocity) for n in wanted.notes)
        np.testing.assert_allclose(notes, expected, atol=tick * 1.01)
        changes = [p for p, before in zip(wanted.pedals, [None, *wanted.pedals], strict=False)
                   if p.down != (before is not None and before.down)]  # fmt: skip
        pedals = [pedal for track in found for pedal in track.pedals]
        assert [p.down for p in pedals] == [p.down for p in changes]
        np.testing.assert_allclose([p.time for p in pedals], [p.time for p in changes], atol=tick)


@st.composite
def metres(draw: st.DrawFn) -> tuple[Beat, ...]:
    """Beats at changing tempos and metres, begun anywhere in a bar and at any time."""
    time, beats = draw(st.just(0.0) | st.floats(0.01, 3.0)), []
    for index in range(draw(st.integers(1, 5))):
        bar, sixteenths = draw(st.sampled_from([(4, 4), (3, 4), (6, 2), (7, 2), (2, 8), (5, 4)]))
        for number in range(draw(st.integers(0, bar - 1)) if index == 0 else 0, bar):
            beats.append(Beat(time, number, bar, sixteenths))
            time += draw(st.floats(0.2, 1.5))
    return (*beats, Beat(time, 0, bar, sixteenths))


@settings(max_examples=50)
@given(metres())
def test_beats_are_bar_lines_of_the_file(beats: tuple[Beat, ...]) -> None:
    end = beats[-1].time
    midi = written(Clip((Note(end, end + 0.1, 60, 64),), beats=beats))
    times = np.array([beat.time for beat in midi.beats])
    for beat in beats:
        near = midi.beats[int(np.argmin(np.abs(times - beat.time)))]
        assert near.time == pytest.approx(beat.time, abs=1e-3)
        assert near.sixteenths == beat.sixteenths
    full_bars = [beat for beat in beats if beat.time >= next(b.time for b in beats if b.number == 0)]
    for beat in full_bars:  # a pickup is a short bar of its own
        assert midi.beats[int(np.argmin(np.abs(times - beat.time)))].number == beat.number


def test_notes_keep_their_seconds_under_a_tempo_map(tmp_path: Path) -> None:
    beats = tuple(Beat(0.1 * i * i, i % 4) for i in range(12))
    notes = tuple(Note(0.37 * i, 0.37 * i + 0.2, 60 + i, 64) for i in range(20))
    midi = written(Clip(notes, beats=beats))
    np.testing.assert_allclose(
        [(n.start, n.end) for n in midi.clip().notes], [(n.start, n.end) for n in notes], atol=2e-3
    )
    assert midi.tempo_changes == 11


def test_a_steady_tempo_is_one_tempo() -> None:
    midi = written(Clip((Note(0.0, 7.0, 60, 64),), beats=steady_beats(97, 8, beats_in_bar=3)))
    assert midi.tempo_changes == 1
    assert [beat.number for beat in midi.beats[:4]] == [0, 1, 2, 0]
    assert midi.beats[3].time == pytest.approx(3 * 60 / 97, abs=1e-5)


def test_chords_are_markers_and_come_back() -> None:
    symbols = ["Cmaj7", "Dm7b5", "G7alt", "N.C.", "Bb6/9", "F#/A#", "Bdim7(9)"]
    chords = tuple(ChordSpan(float(i), parse_chord(symbol)) for i, symbol in enumerate(symbols))
    midi = written(Clip((Note(0.0, 7.0, 60, 64),), chords=chords))
    assert midi.chords == chords


def test_the_two_parts_are_named_tracks() -> None:
    notes = (Note(0.0, 1.0, 60, 64, Part.PLAYER), Note(0.0, 1.0, 48, 64, Part.PARTNER))
    assert [(t.name, t.channel) for t in written(Clip(notes)).tracks] == [("player", 0), ("partner", 1)]


def test_an_empty_clip_is_a_file_without_notes() -> None:
    midi = written(Clip())
    assert midi.note_count == 0
    assert midi.tracks == ()


def test_other_programs_read_what_is_written(tmp_path: Path) -> None:
    path = tmp_path / "out.mid"
    write_midi(Clip((Note(0.5, 1.0, 60, 64),), (Pedal(0.6, True, Part.PARTNER),)), path, tempo=120)
    events = [(message.type, message.time) for message in mido.MidiFile(path) if not message.is_meta]
    assert [kind for kind, _ in events] == ["note_on", "control_change", "note_off"]
    assert sum(time for _, time in events) == pytest.approx(1.0)


# Oddities that have a clear meaning.


@pytest.mark.parametrize("kind", [0, 1, 2, 3])
def test_types_are_read_with_their_tracks_at_once(tmp_path: Path, kind: int) -> None:
    midi = read(tmp_path, midi_bytes(NOTE, NOTE.replace(b"\x3c", b"\x40"), kind=kind))
    assert spans(midi) == [(0.0, 0.5, 60, 80), (0.0, 0.5, 64, 80)]


@pytest.mark.parametrize(
    ("fps", "seconds"), [(25, 480 / 1000), (24, 480 / 960), (30, 480 / 1200), (29, 480 / (40 * 30000 / 1001))]
)
def test_smpte_division_counts_frames(tmp_path: Path, fps: int, seconds: float) -> None:
    division = struct.unpack(">h", struct.pack(">bB", -fps, 40))[0]
    (note,) = read(tmp_path, midi_bytes(NOTE, division=division)).clip().notes
    assert note.end == pytest.approx(seconds)


def test_overlapping_notes_end_oldest_first(tmp_path: Path) -> None:
    body = b"\x00\x90\x3c\x40\x83\x60\x3c\x50\x83\x60\x80\x3c\x00\x83\x60\x3c\x00"
    assert spans(read(tmp_path, midi_bytes(body))) == [(0.0, 1.0, 60, 64), (0.5, 1.5, 60, 80)]


def test_running_status_goes_on_over_meta_and_sysex(tmp_path: Path) -> None:
    for between in (b"\x00\xff\x01\x02hi", b"\x00\xf0\x03\x7e\x7f\xf7"):
        body = b"\x00\x90\x3c\x50" + between + b"\x83\x60\x3c\x00"
        assert spans(read(tmp_path, midi_bytes(body))) == [(0.0, 0.5, 60, 80)]


def test_notes_never_closed_end_with_their_track(tmp_path: Path) -> None:
    body = b"\x00" + ON + b"\x00\x90\x40\x50\x83\x60\x80\x40\x00\x83\x60\xff\x01\x00"
    assert spans(read(tmp_path, midi_bytes(body))) == [(0.0, 0.5, 64, 80), (0.0, 1.0, 60, 80)]


def test_an_end_without_a_beginning_is_passed_over(tmp_path: Path) -> None:
    assert spans(read(tmp_path, midi_bytes(b"\x00" + OFF + NOTE))) == [(0.0, 0.5, 60, 80)]


def test_tempo_changes_hold_for_all_tracks(tmp_path: Path) -> None:
    conductor = b"\x00\xff\x51\x03\x0f\x42\x40\x81\x70\xff\x51\x03\x07\xa1\x20"  # 60, then 120 from tick 240
    assert spans(read(tmp_path, midi_bytes(conductor, NOTE))) == [(0.0, 0.75, 60, 80)]


def test_time_signatures_number_the_beats(tmp_path: Path) -> None:
    conductor = b"\x00\xff\x58\x04\x03\x02\x18\x08\x8b\x20\xff\x58\x04\x06\x03\x18\x08"
    beats = read(tmp_path, midi_bytes(conductor, b"\x00" + ON + b"\x96\x40" + OFF)).beats
    assert [(b.number, b.beats_in_bar, b.sixteenths) for b in beats[:5]] == [
        (0, 3, 4), (1, 3, 4), (2, 3, 4), (0, 6, 2), (1, 6, 2),
    ]  # fmt: skip
    assert [b.time for b in beats[:5]] == pytest.approx([0.0, 0.5, 1.0, 1.5, 1.75])


@pytest.mark.parametrize("signature", [b"\x00\x02", b"\x04\x05", b"\x04\xff", b"\x41\x02", b"\x04", b""])
def test_a_metre_that_nobody_plays_is_four_four(tmp_path: Path, signature: bytes) -> None:
    body = b"\x00\xff\x58" + bytes([len(signature)]) + signature + NOTE
    assert {(b.beats_in_bar, b.sixteenths) for b in read(tmp_path, midi_bytes(body)).beats} == {(4, 4)}


def test_of_two_metres_at_one_tick_the_longer_holds(tmp_path: Path) -> None:
    body = b"\x00\xff\x58\x04\x04\x02\x18\x08\x00\xff\x58\x04\x01\x02\x18\x08" + NOTE
    assert {beat.beats_in_bar for beat in read(tmp_path, midi_bytes(body)).beats} == {4}


def test_the_sustain_pedal_is_down_from_half_way(tmp_path: Path) -> None:
    body = b"\x00\xb0\x40\x3f\x00\x40\x40\x83\x60\x40\x7f\x83\x60\x40\x00\x00\x01\x7f" + NOTE
    assert read(tmp_path, midi_bytes(body)).clip().pedals == (
        Pedal(0.0, True, Part.PARTNER),
        Pedal(1.0, False, Part.PARTNER),
    )


def test_channels_are_tracks_and_the_tenth_is_drums(tmp_path: Path) -> None:
    body = b"\x00\xff\x03\x07 band \xe9" + NOTE + NOTE.replace(b"\x90", b"\x99").replace(b"\x80", b"\x89")
    midi = read(tmp_path, midi_bytes(body))
    assert [(t.name, t.channel, t.is_drums) for t in midi.tracks] == [
        ("band é", 0, False),
        ("band é", 9, True),
    ]
    assert len(midi.clip().notes) == 1
    assert len(midi.clip(drums=True).notes) == 2
    assert midi.note_count == 2


def test_what_is_not_music_does_no_harm(tmp_path: Path) -> None:
    harmless = (
        b"\x00\xff\x59\x02\x2c\x09"  # a key signature with 44 sharps
        b"\x00\xff\x54\x05\xff\xff\xff\xff\xff"  # an SMPTE offset out of range
        b"\x00\xff\x00\x01\x01"  # a sequence number cut short
        b"\x00\xff\x60\x01\x00"  # an unknown meta event
        b"\x00\xf2\x01\x02\x00\xfe\x00\xf8"  # song position and real-time bytes
        b"\x00\xc0\x05\x00\xd0\x05\x00\xe0\x00\x40\x00\xa0\x3c\x05"
    )
    assert spans(read(tmp_path, midi_bytes(harmless + NOTE))) == [(0.0, 0.5, 60, 80)]


def test_an_unknown_meta_event_takes_its_time(tmp_path: Path) -> None:
    assert spans(read(tmp_path, midi_bytes(b"\x83\x60\xff\x60\x01\x00" + NOTE))) == [(0.5, 1.0, 60, 80)]


def test_data_bytes_above_127_are_127(tmp_path: Path) -> None:
    body = b"\x00\x90\x3c\xf0\x83\x60\x80\x3c\x00"
    assert spans(read(tmp_path, midi_bytes(body))) == [(0.0, 0.5, 60, 127)]


def test_chunks_of_other_kinds_are_passed_over(tmp_path: Path) -> None:
    track = chunk(b"MTrk", NOTE + b"\x00\xff\x2f\x00")
    data = midi_bytes(declared=2) + track + chunk(b"XFIH", b"abc") + track
    assert read(tmp_path, data).note_count == 2


@pytest.mark.parametrize(("declared", "found"), [(0, 0), (1, 1), (2, 2), (3, 2), (65535, 2)])
def test_as_many_tracks_are_read_as_are_declared_and_there(tmp_path: Path, declared: int, found: int) -> None:
    assert read(tmp_path, midi_bytes(NOTE, NOTE, declared=declared)).note_count == found


def test_a_missing_end_of_track_and_rubbish_after_it_are_no_matter(tmp_path: Path) -> None:
    assert read(tmp_path, midi_bytes(NOTE, end=False)).note_count == 1
    rubbish = NOTE + b"\x00\xff\x2f\x00" + b"\xff\xff\xff\xff\xff"
    assert read(tmp_path, midi_bytes(rubbish, end=False)).note_count == 1


def test_a_marker_that_is_no_chord_is_none(tmp_path: Path) -> None:
    body = b"\x00\xff\x06\x05Verse\x00\xff\x06\x02G7\x00\xff\x06\x03\x00\xff\x80" + NOTE
    assert [str(span.chord) for span in read(tmp_path, midi_bytes(body)).chords] == ["G7"]


@pytest.mark.parametrize("tempo", [b"\x00\x00\x00", b"\xff\xff\xff"])
def test_extreme_tempos_are_read(tmp_path: Path, tempo: bytes) -> None:
    assert read(tmp_path, midi_bytes(b"\x00\xff\x51\x03" + tempo + NOTE)).note_count == 1


def test_a_division_of_zero_is_one_tick_a_beat(tmp_path: Path) -> None:
    (note,) = read(tmp_path, midi_bytes(b"\x00" + ON + b"\x02" + OFF, division=0)).clip().notes
    assert note.end == 1.0


# What is refused, in one line that names the file.


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "MThd"),
        (b"M", "MThd"),
        (b"\x1f\x8b\x08\x00gzipped", "MThd"),
        (b"RIFF\x2f\x00\x00\x00RMID", "MThd"),
        (b"MThd\x00\x00", "too early"),
        (b"MThd\x00\x00\x00\x04\x00\x01\x00\x01MTrk", "header"),
        (b"MThd\x7f\xff\xff\xff\x00\x01\x00\x01\x01\xe0", "header"),
        (midi_bytes(declared=1), "too early"),
        (midi_bytes(NOTE)[:-5], "too early"),
        (midi_bytes(NOTE, NOTE)[:-20], "too early"),
        (midi_bytes(NOTE) + b"MT", None),
        (midi_bytes(declared=1) + b"MTrk\xff\xff\xff\xff" + NOTE, "too early"),
        (midi_bytes(declared=1) + b"what is this?", "no track"),
        (midi_bytes(b"\x00\x3c\x50"), "data byte"),
        (midi_bytes(b"\x00\xfe\x00\x3c\x50"), "data byte"),
        (midi_bytes(b"\x00\xf4"), "undefined status byte 0xf4"),
        (midi_bytes(b"\xff\xff\xff\xff\x7f" + ON), "four bytes"),
        (midi_bytes(b"\x00\xff\x51\x02\x07\xa1"), "tempo"),
        (midi_bytes(b"\x00\xff\x01\x7fshort"), "past its end"),
        (midi_bytes(b"\x00\xf0\x8f\xff\xff\x7f"), "past its end"),
        (midi_bytes(b"\x00\x90\x3c", end=False), "too early"),
        (midi_bytes(b"\xff\xff\xff\x7f" + ON), "more than a day"),
        (midi_bytes(b"\x00" + ON + b"\xff\xff\xff\x7f\xff\x01\x00"), "more than a day"),
        (midi_bytes(NOTE + b"\xff\xff\xff\x7f\xb0\x40\x7f"), "more than a day"),
    ],
)
def test_what_is_unclear_is_refused(tmp_path: Path, data: bytes, words: str | None) -> None:
    if words is None:
        assert read(tmp_path, data).note_count == 1
    else:
        assert words in reason(tmp_path, data)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(BridgeError, match=r"nowhere\.mid: there is no such file"):
        read_midi(tmp_path / "nowhere.mid")
    with pytest.raises(BridgeError, match="is a folder"):
        read_midi(tmp_path)


@pytest.mark.parametrize("name", ["in.mid/below.mid", "n" * 300, "nul\0byte"])
def test_paths_that_cannot_be_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "in.mid").write_bytes(midi_bytes(NOTE))
    with pytest.raises(BridgeError):
        read_midi(tmp_path / name)


def test_a_file_of_33_megabytes_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "huge.mid"
    with path.open("wb") as file:
        file.write(midi_bytes(NOTE))
        file.truncate(33 * 2**20)
    with pytest.raises(BridgeError, match="larger than 32 MB"):
        read_midi(path)
    assert LARGEST_FILE == 32 * 2**20


# What would fill the memory or never end.


def test_an_endless_number_is_refused_at_once(tmp_path: Path) -> None:
    assert "four bytes" in reason(tmp_path, midi_bytes(b"\xff" * 3_000_000))


def test_more_events_than_music_has_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parser, "MOST_EVENTS", 1000)
    body = b"\x00" + ON + b"\x01\x3c\x00\x01\x3c\x40" * 600
    assert "1,000 events" in reason(tmp_path, midi_bytes(body))
    assert "1,000 events" in reason(tmp_path, midi_bytes(*[NOTE] * 400))
    assert read(tmp_path, midi_bytes(*[NOTE] * 300)).note_count == 300


def test_more_marks_than_music_has_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parser, "MOST_MARKS", 50)
    assert "markers" in reason(tmp_path, midi_bytes(b"\x00\xff\x06\x01C" * 51))
    assert "markers" in reason(tmp_path, midi_bytes(b"\x00\xff\x58\x02\x04\x02" * 51))


def test_beats_are_bounded_over_all_metres_together(tmp_path: Path) -> None:
    """A microsecond a beat, so that a day is long: each metre alone stays below the limit."""
    fast = b"\x00\xff\x51\x03\x00\x00\x01"
    metres = b"\x83\xff\x7f\xff\x58\x04\x04\x04\x18\x08" * 4
    note = b"\x00" + ON + b"\x83\xff\x7f" + OFF
    assert "more beats" in reason(tmp_path, midi_bytes(fast + metres + note, division=1))


def test_metres_long_after_the_music_make_no_beats(tmp_path: Path) -> None:
    body = NOTE + b"\xff\xff\xff\x7f\xff\x58\x04\x03\x02\x18\x08\xff\xff\xff\x7f\xff\x06\x01C"
    midi = read(tmp_path, midi_bytes(body))
    assert len(midi.beats) == 5
    assert midi.chords == ()


def test_many_empty_tracks_are_read(tmp_path: Path) -> None:
    assert read(tmp_path, midi_bytes(*[b""] * 20_000, end=False)).tracks == ()
