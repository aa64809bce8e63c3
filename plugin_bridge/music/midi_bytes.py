"""The bytes of a Standard MIDI File, as far as music needs them: notes, sustain pedal, tempo, metre, markers.

After the MIDI 1.0 specification (RP-001). Work and memory are bounded by the number of bytes and by
`MOST_EVENTS`, whatever the bytes claim. What does not touch the music (key signatures, SMPTE offsets,
system exclusive, chunks of unknown type) is passed over unread, so that errors in it do no harm.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

MOST_EVENTS = 1_000_000
"""Events of all kinds in one file; a pianist makes some 20,000 in an hour, pedal included."""
MOST_MARKS = 100_000
"""Markers and time signatures in one file."""

_NOTE_OFF, _NOTE_ON, _CONTROL = 0x80, 0x90, 0xB0
_SUSTAIN = 64
_LENGTHS = {0x80: 2, 0x90: 2, 0xA0: 2, 0xB0: 2, 0xC0: 1, 0xD0: 1, 0xE0: 2}
_SYSTEM_LENGTHS = {0xF1: 1, 0xF2: 2, 0xF3: 1, 0xF6: 0, 0xF8: 0, 0xFA: 0, 0xFB: 0, 0xFC: 0, 0xFE: 0}
_TRACK_NAME, _MARKER, _END_OF_TRACK, _TEMPO, _TIME_SIGNATURE = 0x03, 0x06, 0x2F, 0x51, 0x58
_LONGEST_TEXT = 128
_CUT = "the file ends too early"


@dataclass(slots=True)
class RawTrack:
    """One track chunk. `keys` are (tick, channel, pitch, velocity), velocity 0 for a note-off; `pedals`
    are (tick, channel, value); `end` is the tick after its last event."""

    name: str = ""
    keys: list[tuple[int, int, int, int]] = field(default_factory=list)
    pedals: list[tuple[int, int, int]] = field(default_factory=list)
    end: int = 0


@dataclass(slots=True)
class RawFile:
    """A whole file. `division` is signed: ticks a quarter note, or negative for SMPTE time. Tempos are
    (tick, microseconds a quarter note), signatures (tick, numerator, denominator), in the file's order."""

    division: int
    tracks: list[RawTrack] = field(default_factory=list)
    tempos: list[tuple[int, int]] = field(default_factory=list)
    signatures: list[tuple[int, int, int]] = field(default_factory=list)
    markers: list[tuple[int, str]] = field(default_factory=list)
    events: int = 0


def parse_midi(data: bytes) -> RawFile:
    """Parse a Standard MIDI File of type 0, 1 or 2. Raises ValueError with the reason when it is none.

    Extra tracks beyond the number that the header declares are not read; where there are fewer, those
    that are there are.
    """
    if data[:4] != b"MThd":
        raise ValueError("it does not begin with MThd")
    if len(data) < 14:
        raise ValueError(_CUT)
    (size,) = struct.unpack_from(">L", data, 4)
    if size < 6 or size > len(data) - 8:
        raise ValueError(f"its header claims {size} bytes")
    declared, division = struct.unpack_from(">Hh", data, 10)
    file, position = RawFile(division), 8 + size
    while len(file.tracks) < declared and position < len(data):
        if len(data) - position < 8:
            raise ValueError(_CUT)
        name, size = struct.unpack_from(">4sL", data, position)
        position += 8
        if size > len(data) - position:
            raise ValueError(_CUT if name == b"MTrk" else "there is no track where one should begin")
        if name == b"MTrk":
            file.tracks.append(_read_track(data, position, position + size, file))
        position += size
    if declared and not file.tracks:
        raise ValueError(_CUT)
    return file


def _read_track(data: bytes, position: int, end: int, file: RawFile) -> RawTrack:
    """The track from `position` to `end`; its tempos, signatures and markers go to `file`."""
    track, number = RawTrack(), len(file.tracks) + 1
    tick = status = 0
    ended = False
    try:
        while position < end:
            delta, position = _variable_length(data, position)
            first = data[position]
            if first >= 0x80:
                position += 1
            elif status == 0:
                raise ValueError("has a data byte where an event should begin")
            else:
                first = status
            tick += delta
            file.events += 1
            if file.events > MOST_EVENTS:
                break
            if first < 0xF0:
                status = first
                length = _LENGTHS[first & 0xF0]
                _channel_event(first, data[position : position + length], tick, track)
                position += length
            elif first == 0xFF:
                kind = data[position]
                length, position = _variable_length(data, position + 1)
                _meta_event(kind, data[position : min(position + length, end)], tick, track, file)
                position += length
                ended = ended or kind == _END_OF_TRACK
            elif first in (0xF0, 0xF7):  # running status goes on after it: many programs write it so
                length, position = _variable_length(data, position)
                position += length
            elif first in _SYSTEM_LENGTHS:
                status = 0
                position += _SYSTEM_LENGTHS[first]
            else:
                raise ValueError(f"has the undefined status byte {first:#04x}")
        if position > end:
            raise ValueError("has an event that runs past its end")
    except (ValueError, IndexError) as error:
        if not ended:  # after the end-of-track event anything may stand
            raise ValueError(f"track {number} {error}" if isinstance(error, ValueError) else _CUT) from error
    if file.events > MOST_EVENTS:
        raise ValueError(f"it has more than {MOST_EVENTS:,} events")
    track.end = tick
    return track


def _variable_length(data: bytes, position: int) -> tuple[int, int]:
    """A variable-length quantity, at most four bytes, and the position after it."""
    value = 0
    for index in range(position, position + 4):
        byte = data[index]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, index + 1
    raise ValueError("has a number of more than four bytes")


def _channel_event(status: int, values: bytes, tick: int, track: RawTrack) -> None:
    """Keep the event if it is a note or the sustain pedal."""
    kind, channel = status & 0xF0, status & 0x0F
    # Data bytes above 127 are read as 127: such files are common, and right but for that.
    if kind in (_NOTE_ON, _NOTE_OFF):
        velocity = min(values[1], 127) if kind == _NOTE_ON else 0
        track.keys.append((tick, channel, min(values[0], 127), velocity))
    elif kind == _CONTROL and values[0] == _SUSTAIN:
        track.pedals.append((tick, channel, min(values[1], 127)))


def _meta_event(kind: int, content: bytes, tick: int, track: RawTrack, file: RawFile) -> None:
    """Keep tempo, metre, markers and the track's name."""
    if kind == _TEMPO:
        if len(content) < 3:
            raise ValueError(f"has a tempo of {len(content)} bytes instead of 3")
        file.tempos.append((tick, int.from_bytes(content[:3], "big")))
    elif kind == _TIME_SIGNATURE and len(content) >= 2:
        file.signatures.append((tick, content[0], 2 ** min(content[1], 16)))
    elif kind == _MARKER and len(content) <= _LONGEST_TEXT:
        file.markers.append((tick, content.decode("latin-1")))
    elif kind == _TRACK_NAME:
        track.name = track.name or content[:_LONGEST_TEXT].decode("latin-1").strip()
    if len(file.markers) + len(file.signatures) > MOST_MARKS:
        raise ValueError(f"has more than {MOST_MARKS:,} markers and time signatures")
