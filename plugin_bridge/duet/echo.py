"""Telling the partner's own notes that come back to the input from what the player plays.

A DAW or a cable can send the output to the input again. Left in, the partner would answer itself. A note-on
is an echo when the same key left with the same velocity a moment ago; where most of what leaves comes back
after the same time but with velocities changed, the key and the time are enough. Pedals and releases of
keys that came back are echoes too. A player who doubles a note of the partner's within the window with
the very same velocity loses that note: one in more than a hundred doublings.

One thread, pure bookkeeping: times come in.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from plugin_bridge.music.events import Event, NoteOff, NoteOn, Pedal

WINDOW = 0.25
"""Seconds after which nothing is an echo any more."""
_SURE = 8  # notes that came back, of the latest 12, for a loop to be certain
_LATEST = 12
_SAME = 0.004  # seconds that echoes of one loop differ by


@dataclass(slots=True)
class _Left:
    """A stroke that left: `lag` is how much later the same key came in."""

    time: float
    pitch: int
    velocity: int
    lag: float | None = None
    matched: bool = False


class EchoFilter:
    """Follows what leaves and judges what comes in. `heard` counts echoes that were kept out."""

    def __init__(self) -> None:
        self.heard = 0
        self._left: deque[_Left] = deque(maxlen=256)
        self._pedals: deque[tuple[float, bool]] = deque(maxlen=32)
        self._echoing: set[int] = set()

    @property
    def looped(self) -> bool:
        """Whether the output is certainly connected to the input."""
        return self._lag() is not None

    def sent(self, event: Event, time: float) -> None:
        """The partner's event left at `time`."""
        match event:
            case NoteOn():
                self._left.append(_Left(time, event.pitch, event.velocity))
            case Pedal():
                self._pedals.append((time, event.down))

    def is_echo(self, event: Event, time: float) -> bool:
        """Whether what came in at `time` is our own."""
        match event:
            case NoteOn():
                found = self._returned(event, time)
                self._echoing.discard(event.pitch)
                if found:
                    self._echoing.add(event.pitch)
            case NoteOff():
                found = event.pitch in self._echoing
                self._echoing.discard(event.pitch)
            case Pedal():
                found = self._lag() is not None and any(
                    down == event.down and 0 <= time - left <= WINDOW for left, down in tuple(self._pedals)
                )
        self.heard += found
        return found

    def _returned(self, event: NoteOn, time: float) -> bool:
        lag = self._lag()
        for left in reversed(tuple(self._left)):
            if time - left.time > WINDOW:
                break
            if left.pitch != event.pitch or left.matched or time < left.time:
                continue
            left.lag = time - left.time
            same_time = lag is not None and abs(left.lag - lag) <= _SAME
            if left.velocity == event.velocity or same_time:
                left.matched = True
                return True
            return False
        return False

    def _lag(self) -> float | None:
        """The time that notes take to come back, where most of the latest did so after the same."""
        lags = sorted(left.lag for left in list(self._left)[-_LATEST:] if left.lag is not None)
        if len(lags) < _SURE:
            return None
        middle = lags[len(lags) // 2]
        return middle if sum(abs(lag - middle) <= _SAME for lag in lags) >= _SURE else None
