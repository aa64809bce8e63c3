"""Whatever bytes a file holds, it is read or refused in one line."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from music_strategies import clips, midi_bytes

from plugin_bridge.errors import BridgeError
from plugin_bridge.music.clip import Clip
from plugin_bridge.music.midi_file import read_midi, write_midi

NOTE = b"\x00\x90\x3c\x50\x83\x60\x80\x3c\x00"
PIECES = st.sampled_from([
    NOTE, b"\x00\x90\x3c\x50", b"\x00\x80\x3c\x00", b"\x00\xb0\x40\x7f",
    b"\x00\xff\x2f\x00", b"\x00\xff\x51\x03\x00\x00\x01",
    b"\x00\xff\x58\x04\x04\x04\x18\x08", b"\xff\xff\xff\x7f", b"\x00\xf0", b"\x00\xf7\x01\xf7",
    b"\x00\xff\x06\x02Am",
    b"\x00\xff\x59\x02\x7f\x7f", b"MTrk\x00\x00\x00\x04", b"\x83\x60", b"\xff",
])  # fmt: skip
TRACKS = st.lists(st.lists(PIECES | st.binary(max_size=6), max_size=15).map(b"".join), max_size=4)
FILES = st.builds(
    lambda tracks, kind, division, declared: midi_bytes(
        *tracks, kind=kind, division=division, declared=declared
    ),
    TRACKS,
    st.integers(0, 65535),
    st.integers(-32768, 32767) | st.sampled_from([0, 1, 480, -1, -256]),
    st.none() | st.integers(0, 65535),
)


def survives(data: bytes) -> None:
    """Read to a piece that holds together, or refused with BridgeError."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "in.mid"
        path.write_bytes(data)
        try:
            midi = read_midi(path)
        except BridgeError as error:
            assert "in.mid" in str(error)
            return
    clip = midi.clip(drums=True)
    assert all(0 <= note.start <= note.end <= 90_000 for note in clip.notes)
    assert all(0 <= pedal.time <= 90_000 for pedal in clip.pedals)
    times = [beat.time for beat in midi.beats]
    assert times == sorted(times)
    clip.events()


@settings(max_examples=200)
@given(st.binary(max_size=300) | st.binary(max_size=200).map(lambda tail: b"MThd\x00\x00\x00\x06" + tail))
def test_random_bytes_do_no_harm(data: bytes) -> None:
    survives(data)


@settings(max_examples=300)
@given(FILES)
def test_files_of_odd_pieces_do_no_harm(data: bytes) -> None:
    survives(data)


@settings(max_examples=200)
@given(clips(), st.randoms(use_true_random=False), st.integers(1, 8), st.booleans())
def test_damaged_files_do_no_harm(clip: Clip, dice: random.Random, wounds: int, cut: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "whole.mid"
        write_midi(clip, path)
        data = bytearray(path.read_bytes())
    for _ in range(wounds):
        data[dice.randrange(len(data))] = dice.randrange(256)
    survives(bytes(data[: dice.randrange(len(data))] if cut else data))
