"""What sounds on one wire, by the messages that passed, and the messages that end it."""

from __future__ import annotations

from plugin_bridge.ports.messages import (
    ALL_NOTES_OFF,
    ALL_SOUND_OFF,
    CONTROL_CHANGE,
    NOTE_OFF,
    NOTE_ON,
    SUSTAIN_PEDAL,
)


class Held:
    """Follows the messages of one wire. Belongs to one thread at a time."""

    def __init__(self) -> None:
        self._notes: set[tuple[int, int]] = set()
        self._pedals: set[int] = set()

    def __len__(self) -> int:
        """How many notes sound and pedals are down."""
        return len(self._notes) + len(self._pedals)

    def sounds(self, channel: int, pitch: int) -> bool:
        """Whether that note sounds."""
        return (channel, pitch) in self._notes

    def follow(self, message: bytes) -> None:
        """Take notice of a message that passed."""
        if len(message) != 3:
            return
        kind, channel, number, value = message[0] & 0xF0, message[0] & 0x0F, message[1], message[2]
        if kind == NOTE_ON and value > 0:
            self._notes.add((channel, number))
        elif kind in (NOTE_ON, NOTE_OFF):
            self._notes.discard((channel, number))
        elif kind == CONTROL_CHANGE and number == SUSTAIN_PEDAL:
            (self._pedals.add if value >= 64 else self._pedals.discard)(channel)
        elif kind == CONTROL_CHANGE and number in (ALL_SOUND_OFF, ALL_NOTES_OFF):
            self._notes = {each for each in self._notes if each[0] != channel}

    def end(self) -> list[bytes]:
        """The messages that end all of it: pedals up, then a note-off each. Nothing is held afterwards."""
        messages = [bytes((CONTROL_CHANGE | channel, SUSTAIN_PEDAL, 0)) for channel in sorted(self._pedals)]
        messages += [bytes((NOTE_OFF | channel, pitch, 0)) for channel, pitch in sorted(self._notes)]
        self._notes.clear()
        self._pedals.clear()
        return messages
