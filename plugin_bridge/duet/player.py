"""The player as far as the partner knows: keys, pedal, onsets, how dense and how loud."""

from __future__ import annotations

from collections import deque

from plugin_bridge.music.events import Event, NoteOff, NoteOn, Pedal

ONSETS = 64
"""As far back as a phrase is looked at."""
LATELY = 4.0
"""Seconds that density and loudness are taken from."""


class Player:
    """Follows the player's events, clock seconds. `onsets` are those of the phrase that is being played,
    `rests` the silences between them, in seconds."""

    def __init__(self) -> None:
        self.held: set[int] = set()
        self.pedal = False
        self.onsets: deque[float] = deque(maxlen=ONSETS)
        self.rests: deque[float] = deque(maxlen=ONSETS)
        self.last_release: float | None = None
        self._lately: deque[tuple[float, int]] = deque(maxlen=256)

    def take(self, event: Event) -> list[Event]:
        """The events that `event` amounts to: a key struck again without a release is released first, a
        release of a key that is up is none, and a half pedal's many values are told once."""
        match event:
            case NoteOn():
                before = self.take(NoteOff(event.time, event.pitch)) if event.pitch in self.held else []
                if self.onsets and self.last_release is not None and not self.held:
                    self.rests.append(event.time - self.last_release)
                self.held.add(event.pitch)
                self.onsets.append(event.time)
                self._lately.append((event.time, event.velocity))
                return [*before, event]
            case NoteOff():
                if event.pitch not in self.held:
                    return []
                self.held.discard(event.pitch)
                self.last_release = event.time
            case Pedal():
                if event.down == self.pedal:
                    return []
                self.pedal = event.down
        return [event]

    def begin_phrase(self) -> None:
        """What comes now belongs to another phrase."""
        self.onsets.clear()
        self.rests.clear()

    def all_off(self, time: float) -> list[Event]:
        """The events that let go of everything."""
        return [*(NoteOff(time, pitch) for pitch in sorted(self.held)), Pedal(time, False)]

    def density(self, time: float) -> float:
        """Onsets a second, lately."""
        return sum(onset > time - LATELY for onset, _ in self._lately) / LATELY

    def velocity(self, time: float) -> float | None:
        """The mean velocity of the notes lately; None where there were none."""
        lately = [velocity for onset, velocity in self._lately if onset > time - LATELY]
        return sum(lately) / len(lately) if lately else None
