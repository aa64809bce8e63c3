"""Where FL Studio is, from what its script reports now and then.

A report is never early: it is read in FL's idle loop, which comes about every 20 ms, and FL itself moves on
in steps of an audio buffer. So of the reports of the last seconds the least late one is right, and tells how
late the others were. The tempo need not be estimated, for the script tells it.
"""

from __future__ import annotations

from collections import deque

WINDOW = 2.0
"""Seconds of reports among which the least late one is sought."""
_MOST = 256


class PositionLine:
    """The line of one run of the transport: position (quarter notes) over time (seconds)."""

    def __init__(self, time: float, position: float, tempo: float) -> None:
        """A run that is at `position` at `time`, in `tempo` quarter notes a minute (above 0)."""
        self.time, self.position, self.tempo = time, position, tempo
        self._late: deque[tuple[float, float]] = deque([(time, 0.0)], maxlen=_MOST)  # time, seconds

    def at(self, time: float) -> float:
        """Quarter notes at `time`."""
        return self.position + (time - self.time) * self.tempo / 60

    def report(self, time: float, position: float, tempo: float) -> None:
        """The same run was reported at `position`, heard at `time`, which is not before the last report.

        A tempo that has changed did so somewhere between the last report and this one: halfway is the guess.
        """
        self.position = self.at(time) + (time - self.time) * (tempo - self.tempo) / 120
        self.time, self.tempo = time, tempo
        self._late.append((time, (self.position - position) * 60 / tempo))
        while time - self._late[0][0] > WINDOW:
            self._late.popleft()
        least = min(late for _, late in self._late)
        self.position -= least * tempo / 60
        self._late = deque(((when, late - least) for when, late in self._late), maxlen=_MOST)
