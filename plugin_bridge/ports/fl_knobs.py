"""Knobs and buttons that were turned at controllers in FL Studio, as control changes.

A controller in FL Studio that has the Plugin Bridge script reports every control change it hears. Reports may
be lost, and so each repeats what came shortly before it; here each move counts once.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

MOST_WAITING = 256
"""Moves that wait to be taken; of more, the oldest are lost."""
_MOST_SOURCES = 16
_AHEAD = 1 << 15
_CONTROL_CHANGE = 0xB0


@dataclass(frozen=True, slots=True)
class Turned:
    """The control change that a knob sent, heard at `time` seconds."""

    message: bytes
    time: float


class KnobReports:
    """What was turned, in order."""

    def __init__(self) -> None:
        self._waiting: deque[Turned] = deque(maxlen=MOST_WAITING)
        self._last: dict[int, int] = {}  # by who reports

    def take(self) -> tuple[Turned, ...]:
        """What was turned since the last call, in order."""
        turned = tuple(self._waiting)
        self._waiting.clear()
        return turned

    def hear(self, source: int, last: int, moves: bytes, time: float) -> None:
        """`source` reports moves of three bytes each (channel, number, value), the last of them its `last`-th
        of all, modulo 65536."""
        count = len(moves) // 3
        known = self._last.get(source)
        new = count if known is None else (last - known) % 65536
        if new >= _AHEAD:
            return  # an older report, come late
        self._last.pop(source, None)
        self._last[source] = last
        if len(self._last) > _MOST_SOURCES:
            del self._last[next(iter(self._last))]
        for index in range(max(0, count - new), count):
            channel, number, value = moves[3 * index : 3 * index + 3]
            if channel < 16 and number < 128 and value < 128:
                self._waiting.append(Turned(bytes((_CONTROL_CHANGE | channel, number, value)), time))
