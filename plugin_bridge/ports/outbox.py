"""What waits to be sent while the other end does not read: bounded, and without a note that hangs. Pure.

When more than LIMIT frames wait, messages that begin or change something are dropped, and those that end
something are kept, once each: there are no more of them than notes and pedals. What is not MIDI is kept.
"""

from __future__ import annotations

from collections import deque

from plugin_bridge.ports.messages import (
    ALL_NOTES_OFF,
    ALL_SOUND_OFF,
    CONTROL_CHANGE,
    NOTE_OFF,
    NOTE_ON,
    RESET_ALL_CONTROLLERS,
    SUSTAIN_PEDAL,
)

LIMIT = 4096
"""Frames: about a second of what a wire of MIDI 1.0 can carry."""


class Outbox:
    """A queue of frames. Belongs to who holds its owner's lock."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.dropped = 0
        self._limit = limit
        self._frames: deque[bytes] = deque()
        self._endings: dict[bytes, bytes] = {}

    def __bool__(self) -> bool:
        return bool(self._frames or self._endings)

    def put(self, frame: bytes, message: bytes | None = None) -> None:
        """Add a frame; `message` is the MIDI message in it, if it is one."""
        if message is None or (len(self._frames) < self._limit and not self._endings):
            self._frames.append(frame)
        elif ends(message):
            self._endings.setdefault(message[:2], frame)
        else:
            self.dropped += 1

    def take(self) -> bytes:
        """All that waits, in order, as one piece; nothing waits any more."""
        data = b"".join((*self._frames, *self._endings.values()))
        self._frames.clear()
        self._endings.clear()
        return data


def ends(message: bytes) -> bool:
    """Whether `message` ends a note, lifts a pedal, or silences a channel."""
    if len(message) != 3:
        return False
    kind, number, value = message[0] & 0xF0, message[1], message[2]
    if kind == CONTROL_CHANGE:
        silencing = number in (ALL_SOUND_OFF, RESET_ALL_CONTROLLERS, ALL_NOTES_OFF)
        return silencing or (number == SUSTAIN_PEDAL and value < 64)
    return kind == NOTE_OFF or (kind == NOTE_ON and value == 0)
