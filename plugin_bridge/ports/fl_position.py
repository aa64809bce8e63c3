"""Where FL Studio is, from what its script reports now and then.

A report is never early: it is read in FL's idle loop, which comes about every 20 ms, and FL itself moves on
in steps of an audio buffer and counts in whole ticks. So of the reports of the last seconds the least late
one is the best, and tells how late the others were. Of few reports even the least late one is late: of n, by
1 / (n + 1) of what they are late at most, were that spread evenly.
The tempo need not be estimated, for the script tells it.
"""

from __future__ import annotations

from collections import deque
from statistics import median

WINDOW = 2.0
"""Seconds of reports among which the least late one is sought."""
USUAL_SPREAD = 0.012
"""Seconds that reports are late at most, until there are enough to tell: an audio buffer of 512 samples."""
_ENOUGH = 12
_MOST = 256


class PositionLine:
    """The line of one run of the transport: position (quarter notes) over time (seconds)."""

    def __init__(self, time: float, position: float, tempo: float, spread: float = USUAL_SPREAD) -> None:
        """A run that is reported at `position` at `time`, in `tempo` quarter notes a minute (above 0);
        reports are late by up to `spread` seconds."""
        self.time, self.tempo = time, tempo
        self._least_late = position
        self._spread = spread
        self._late: deque[tuple[float, float]] = deque([(time, 0.0)], maxlen=_MOST)  # time, seconds

    @property
    def position(self) -> float:
        """Quarter notes at the time of the last report."""
        return self._least_late + self.spread / (len(self._late) + 1) * self.tempo / 60

    @property
    def spread(self) -> float:
        """Seconds that reports are late at most, but for rare ones."""
        if len(self._late) < _ENOUGH:
            return self._spread
        return 2 * median(late for _, late in self._late)

    def at(self, time: float) -> float:
        """Quarter notes at `time`."""
        return self.position + (time - self.time) * self.tempo / 60

    def report(self, time: float, position: float, tempo: float) -> None:
        """The same run was reported at `position`, heard at `time`, which is not before the last report.

        A tempo that has changed did so somewhere between the last report and this one: halfway is the guess.
        """
        line = self._least_late + (time - self.time) * (tempo + self.tempo) / 120
        self.time, self.tempo = time, tempo
        self._late.append((time, (line - position) * 60 / tempo))
        while time - self._late[0][0] > WINDOW:
            self._late.popleft()
        least = min(late for _, late in self._late)
        self._least_late = line - least * tempo / 60
        self._late = deque(((when, late - least) for when, late in self._late), maxlen=_MOST)
