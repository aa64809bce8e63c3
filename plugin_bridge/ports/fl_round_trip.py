"""How long a message takes to FL Studio and back: from pings of the program's and the script's echoes.

The script holds a ping until its next report and says for how long; the rest of the time was the way there
and back. A report of the script's is late by the way here, and a note of the program's by the way there: so
the sum of both, which needs nothing but the program's clock, is what notes must leave early by.
"""

from __future__ import annotations

from collections import deque
from statistics import median

PING_EVERY = 0.2
"""Seconds."""
LONGEST = 0.1
"""Seconds: what comes back later was held up, and says nothing about the way."""
_KEPT = 25
_NUMBERS = 1 << 16
_IN_FLIGHT = 8


class RoundTrip:
    """The way to FL Studio and back, seconds; 0 until it is known."""

    def __init__(self) -> None:
        self._sent: dict[int, float] = {}
        self._took: deque[float] = deque(maxlen=_KEPT)
        self._number = 0

    @property
    def seconds(self) -> float:
        """The median of the latest."""
        return median(self._took) if self._took else 0.0

    def due(self, time: float) -> bool:
        """Whether another ping is to be sent at `time`."""
        return not self._sent or time - self._sent[self._number] >= PING_EVERY

    def ping(self, time: float, again: bool = False) -> int:
        """The number of the ping that leaves at `time`; `again`: the last one has not left before."""
        if not again:
            self._number = (self._number + 1) % _NUMBERS
        self._sent[self._number] = time
        if len(self._sent) > _IN_FLIGHT:
            del self._sent[next(iter(self._sent))]
        return self._number

    def echo(self, number: int, held: float, time: float) -> None:
        """Ping `number` came back at `time`; the script held it for `held` seconds."""
        sent = self._sent.get(number)
        if sent is None:
            return
        took = time - sent - held
        if 0 <= took <= LONGEST:
            self._took.append(took)
        self._sent = {each: left for each, left in self._sent.items() if left > sent or each == self._number}

    def forget(self) -> None:
        """Another FL Studio, perhaps another way."""
        self._sent.clear()
        self._took.clear()
