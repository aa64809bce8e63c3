"""The chords that the player is heard to play, as a chart for the stream where none was given."""

from __future__ import annotations

from plugin_bridge.music.chord_detection import ChordDetector
from plugin_bridge.music.clip import ChordSpan
from plugin_bridge.music.events import Event
from plugin_bridge.music.harmony import Chart

KEPT = 32
"""Chords of the past that the chart keeps: more than a plan looks back."""


class ChordListener:
    """Hears the player's events, seconds from the start of the session; one thread. `spans` are all the
    chords so far."""

    def __init__(self) -> None:
        self.spans: list[ChordSpan] = []
        self._detector = ChordDetector()

    def hear(self, event: Event) -> None:
        """Take an event in."""
        self._detector.hear(event)

    def chart_at(self, time: float) -> Chart | None:
        """A new chart where the chord has changed by `time`; None where it is still the same."""
        chord = self._detector.heard_at(time).chord
        last = self.spans[-1].chord if self.spans else None
        if chord == last:
            return None
        # from now on: what was played before was heard with the chord that was known then
        self.spans.append(ChordSpan(time, chord))
        return Chart(tuple(self.spans[-KEPT:]))
