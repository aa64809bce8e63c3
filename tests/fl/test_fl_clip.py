"""Clips in FL Studio's piano roll: every note to the tick, twice in a row, and the user's own left alone."""

from __future__ import annotations

import os
from pathlib import Path

import mido
import pytest
from fakes.piano_roll import Note, PianoRoll
from hypothesis import given
from hypothesis import strategies as st

from plugin_bridge.errors import BridgeError
from plugin_bridge.fl.clip import (
    CLIP_MIDI,
    CLIP_SCRIPT,
    MOST_NOTES,
    Take,
    clip_files,
    read_take,
    takes_script,
)
from plugin_bridge.fl.takes import last_takes
from plugin_bridge.music.clip import Clip
from plugin_bridge.music.clip import Note as ClipNote
from plugin_bridge.music.midi_file import write_midi

Row = tuple[int, int, int, int]
ROWS = st.lists(
    st.tuples(st.integers(0, 10_000), st.integers(1, 2000), st.integers(0, 127), st.integers(1, 127)),
    max_size=40,
    unique_by=lambda row: (row[0], row[2]),
)


def take(name: str, *rows: Row, quarter: int = 96) -> Take:
    return Take(name, quarter, tuple(rows), b"")


def write_file(path: Path, rows: list[Row], quarter: int, channel: int = 0) -> Path:
    events = []
    for start, length, pitch, velocity in rows:
        events.append((start, 1, mido.Message("note_on", note=pitch, velocity=velocity, channel=channel)))
        events.append((start + length, 0, mido.Message("note_off", note=pitch, channel=channel)))
    track, last = mido.MidiTrack(), 0
    for tick, _, message in sorted(events, key=lambda event: event[:2]):
        track.append(message.copy(time=tick - last))
        last = tick
    mido.MidiFile(ticks_per_beat=quarter, tracks=[track]).save(path)
    return path


@given(ROWS)
def test_the_script_yields_the_notes_to_the_tick_and_twice_in_a_row_no_more(rows: list[Row]) -> None:
    script = takes_script([take("mine", *rows)])
    roll = PianoRoll(96)
    roll.run(script)
    assert roll.score.content() == sorted(rows)
    roll.run(script, previews=5)
    assert roll.score.content() == sorted(rows)


@given(ROWS, st.sampled_from([96, 192, 960]))
def test_at_another_resolution_notes_stay_within_half_a_tick(rows: list[Row], ppq: int) -> None:
    roll = PianoRoll(ppq)
    roll.run(takes_script([take("mine", *rows, quarter=480)]))
    found, expected = roll.score.content(), sorted(rows)
    assert len(found) == len(expected)
    for time, _, _, _ in found:
        assert min((abs(time - row[0] * ppq / 480) for row in expected), default=0) <= 0.5


def test_the_users_own_notes_stay() -> None:
    roll = PianoRoll()
    own = Note()
    own.number, own.time, own.length = 30, 5, 7
    roll.score.addNote(own)
    script = takes_script([take("mine", (0, 96, 60, 100))])
    roll.run(script)
    roll.run(script)
    assert [row[2] for row in roll.score.content()] == [60, 30]


def test_another_take_takes_the_place_of_the_first() -> None:
    script = takes_script([take("a", (0, 96, 60, 100)), take("b", (96, 96, 64, 90))])
    roll = PianoRoll()
    roll.run(script, choice=0)
    assert roll.score.content() == [(0, 96, 60, 100)]
    roll.run(script, choice=1)
    assert roll.score.content() == [(96, 96, 64, 90)]


def test_the_menu_offers_the_takes_by_number_and_name() -> None:
    names = ["evans, slow", "caf\u00e9\n2", 'quote " and \\']
    roll = PianoRoll()
    roll.run(takes_script([take(name, (0, 9, 60, 64)) for name in names]), choice=2)
    assert roll.dialog is not None
    assert roll.dialog.choices["Take"] == ["1 evans slow", "2 caf 2", '3 quote " and \\']


def test_without_takes_the_menu_says_how_to_get_some_and_changes_nothing() -> None:
    roll = PianoRoll()
    roll.run(takes_script([]))
    assert roll.dialog is not None
    assert "plugin-bridge fl clip --last" in roll.dialog.text
    assert roll.score.content() == []


@pytest.mark.parametrize("quarter", [96, 480, 960])
def test_a_midi_file_is_taken_over_to_the_tick_and_lies_beside_the_script(
    tmp_path: Path, quarter: int
) -> None:
    rows = [(0, 50, 60, 100), (7, 13, 64, 1), (960, 480, 67, 127), (961, 1, 60, 64)]
    path = write_file(tmp_path / "song.mid", rows, quarter)
    files = clip_files(read_take(path))
    roll = PianoRoll(quarter)
    roll.run(files[CLIP_SCRIPT])
    assert roll.score.content() == sorted(rows)
    assert files[CLIP_MIDI] == path.read_bytes()


def test_notes_that_overlap_on_a_key_and_one_that_never_ends(tmp_path: Path) -> None:
    track = mido.MidiTrack()
    for kind, time in (("note_on", 0), ("note_on", 10), ("note_off", 10), ("note_off", 10), ("note_on", 10)):
        track.append(mido.Message(kind, note=60, velocity=80, time=time))
    track.append(mido.MetaMessage("end_of_track", time=96))
    mido.MidiFile(ticks_per_beat=96, tracks=[track]).save(tmp_path / "odd.mid")
    assert [row[:2] for row in read_take(tmp_path / "odd.mid").notes] == [(0, 20), (10, 20), (40, 96)]


def test_drums_are_left_out_unless_there_is_nothing_else(tmp_path: Path) -> None:
    drums = write_file(tmp_path / "drums.mid", [(0, 10, 36, 99)], 96, channel=9)
    assert len(read_take(drums).notes) == 1
    file = mido.MidiFile(drums)
    file.tracks += mido.MidiFile(write_file(tmp_path / "tune.mid", [(0, 10, 60, 99)], 96)).tracks
    file.save(tmp_path / "both.mid")
    assert [row[2] for row in read_take(tmp_path / "both.mid").notes] == [60]


def test_a_file_with_a_time_code_is_taken_over_as_it_sounds(tmp_path: Path) -> None:
    path = write_file(tmp_path / "smpte.mid", [(0, 25, 60, 100)], 480)
    data = bytearray(path.read_bytes())
    data[12:14] = bytes((256 - 25, 40))  # 25 frames of 40 ticks: a tick is a millisecond
    path.write_bytes(bytes(data))
    found = read_take(path)
    assert (found.quarter, found.notes) == (480, ((0, 24, 60, 100),))  # 25 ms at 120


def test_a_file_that_cannot_be_read_or_is_too_long_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "no.mid").write_bytes(b"RIFF")
    with pytest.raises(BridgeError, match=r"no\.mid: not a readable MIDI file"):
        read_take(tmp_path / "no.mid")
    path = write_file(tmp_path / "long.mid", [(k, 1, 60, 9) for k in range(0, 2 * MOST_NOTES + 2, 2)], 96)
    with pytest.raises(BridgeError, match="20001 notes are too many"):
        read_take(path)


def test_the_last_takes_come_newest_first(tmp_path: Path) -> None:
    folder = tmp_path / "takes"
    folder.mkdir()
    for number in range(5):
        path = folder / f"take {number}.mid"
        write_midi(Clip((ClipNote(0.0, 1.0, 60 + number, 80),)), path)
        os.utime(path, ns=(number, number))
    (folder / "broken.mid").write_bytes(b"nothing")
    kept = last_takes(folder, 4)
    assert [each.name for each in kept] == ["take 4", "take 3", "take 2"]  # one cannot be read
    assert last_takes(tmp_path / "nowhere") == ()
