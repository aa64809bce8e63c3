"""Raw MIDI messages and events (MIDI 1.0 detailed specification, channel voice and mode messages)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from plugin_bridge.music.events import Event, NoteOff, NoteOn, Part, Pedal

NOTE_OFF = 0x80
NOTE_ON = 0x90
CONTROL_CHANGE = 0xB0
SYSEX_START = 0xF0
SYSEX_END = 0xF7
ACTIVE_SENSING = 0xFE

SUSTAIN_PEDAL = 64
ALL_SOUND_OFF = 120
RESET_ALL_CONTROLLERS = 121
ALL_NOTES_OFF = 123

DEFAULT_RELEASE_VELOCITY = 64
_SILENCING = frozenset({ALL_SOUND_OFF, ALL_NOTES_OFF, 124, 125, 126, 127})  # mode changes imply it


@dataclass(frozen=True, slots=True)
class AllNotesOff:
    """Every note and pedal of `part` is to be taken as released at `time` seconds."""

    time: float
    part: Part = Part.PLAYER


@dataclass(frozen=True, slots=True)
class ProgramChange:
    """Program `program` (0..127) was chosen at `time` seconds."""

    time: float
    program: int


def event_from_message(
    message: Sequence[int], time: float, part: Part = Part.PLAYER
) -> Event | AllNotesOff | ProgramChange | None:
    """What one whole message means, on whatever channel; None for all that is no event of ours.

    `message` is what a port delivers: bytes or integers, status byte first. Anything malformed, too short
    or too long, realtime and system-exclusive gives None; nothing raises.
    """
    if len(message) == 2 and 0xC0 <= message[0] <= 0xCF and 0 <= message[1] <= 127:
        return ProgramChange(time, message[1])
    if len(message) != 3:
        return None
    status, first, second = message
    if not (0 <= first <= 127 and 0 <= second <= 127):
        return None
    match status & 0xF0 if 0 <= status <= 0xFF else 0:
        case 0x90 if second > 0:
            return NoteOn(time, first, second, part)
        case 0x80 | 0x90:
            return NoteOff(time, first, part)
        case 0xB0:
            return _controller(first, second, time, part)
    return None


def _controller(number: int, value: int, time: float, part: Part) -> Pedal | AllNotesOff | None:
    if number == SUSTAIN_PEDAL:
        return Pedal(time, value >= 64, part)
    if number == RESET_ALL_CONTROLLERS:
        return Pedal(time, False, part)
    if number in _SILENCING:
        return AllNotesOff(time, part)
    return None


def message_from_event(event: Event, channel: int = 0) -> bytes:
    """The three bytes of `event` on `channel` 0..15. Its time and part are not in them."""
    _check_channel(channel)
    match event:
        case NoteOn():
            return bytes((NOTE_ON | channel, event.pitch, event.velocity))
        case NoteOff():
            return bytes((NOTE_OFF | channel, event.pitch, DEFAULT_RELEASE_VELOCITY))
        case Pedal():
            return bytes((CONTROL_CHANGE | channel, SUSTAIN_PEDAL, 127 if event.down else 0))


def all_off(channel: int, held: Iterable[int]) -> list[bytes]:
    """Messages that silence `channel`: pedal up, a note-off for each pitch in `held`, all notes off.

    Each held note gets its own note-off because many instruments ignore controller 123.
    """
    _check_channel(channel)
    control = CONTROL_CHANGE | channel
    offs = [bytes((NOTE_OFF | channel, pitch, DEFAULT_RELEASE_VELOCITY)) for pitch in sorted(set(held))]
    return [bytes((control, SUSTAIN_PEDAL, 0)), *offs, bytes((control, ALL_NOTES_OFF, 0))]


def _check_channel(channel: int) -> None:
    if not 0 <= channel <= 15:
        raise ValueError(f"channel {channel} is not 0 to 15")
