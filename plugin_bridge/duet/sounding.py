"""What sounds on one output channel, and what must really be sent to it."""

from __future__ import annotations

from plugin_bridge.music.events import Event, NoteOff, NoteOn, Part, Pedal


class Sounding:
    """The one owner of the notes and the pedal that are down on a channel.

    Pure bookkeeping for one thread at a time: what `filter` and `release` return is taken as sent. The part
    of an event is carried along and plays no role, because a channel has one key a pitch.
    """

    def __init__(self) -> None:
        self._held: dict[int, Part] = {}
        self._pedal: Part | None = None

    @property
    def held(self) -> frozenset[int]:
        """The pitches, 0..127, whose keys are down."""
        return frozenset(self._held)

    @property
    def pedal_down(self) -> bool:
        return self._pedal is not None

    def filter(self, event: Event) -> list[Event]:
        """What to send for `event`, in order.

        A note-on for a key that is down gives its note-off first, at the same time. A note-off for a silent
        key and a pedal that does not move give nothing.
        """
        match event:
            case NoteOn():
                closing = self._lift(event.pitch, event.time)
                self._held[event.pitch] = event.part
                return [*closing, event]
            case NoteOff():
                return [event] if self._lift(event.pitch, event.time) else []
            case Pedal():
                if event.down == self.pedal_down:
                    return []
                self._pedal = event.part if event.down else None
                return [event]

    def release(self, time: float) -> list[Event]:
        """The events, all at `time` seconds, that let everything go: the pedal, then the notes by pitch."""
        events: list[Event] = []
        if self._pedal is not None:
            events.append(Pedal(time, False, self._pedal))
            self._pedal = None
        for pitch in sorted(self._held):
            events += self._lift(pitch, time)
        return events

    def _lift(self, pitch: int, time: float) -> list[Event]:
        part = self._held.pop(pitch, None)
        return [] if part is None else [NoteOff(time, pitch, part)]
