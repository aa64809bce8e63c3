"""Where FL Studio is, from what its script reports now and then.

A report is never early: it is read in FL's idle loop, and FL itself moves on in steps of an audio buffer and
counts in whole ticks; and it is late by more than these come to only where something was held up. So each
report says where the song is at least and at most, and it is between what all of the last seconds leave: in
the middle, while they are few. (For delays spread evenly over a known range no estimate of a place has a
smaller error: E. J. G. Pitman, "The estimation of the location and scale parameters of a continuous
population of any given form", 1939.) The more there are the less the late ones count, for some were held up:
of n delays that are the sum of two (buffer and tick) the least is about half their spread over root n.

The tempo need not be estimated, for the script tells it. When it changed is known only to lie between two
reports: what that leaves open is a range, too, which the reports after it narrow down.
"""

from __future__ import annotations

import math
from collections import deque
from statistics import median

WINDOW = 2.0
"""Seconds of reports that are taken together: clocks differ a little, and so none is true for ever."""
USUAL_SPREAD = 0.016
"""Seconds that reports are late at most, until there are enough to tell: a buffer of 512 samples, a tick."""
NARROWED = 0.5
"""Seconds after a change of the tempo for which its range counts; by then the reports tell more."""
_ENOUGH = 12
_MOST = 256


class PositionLine:
    """The line of one run of the transport: position (quarter notes) over time (seconds)."""

    def __init__(self, time: float, position: float, tempo: float, spread: float = USUAL_SPREAD) -> None:
        """A run that is reported at `position` at `time`, in `tempo` quarter notes a minute (above 0);
        reports are late by up to `spread` seconds."""
        self.time, self.tempo = time, tempo
        self._base = position  # the line that what follows, in seconds, is told against
        self._spread = spread
        self._late: deque[tuple[float, float]] = deque([(time, 0.0)], maxlen=_MOST)  # time, how late
        self._known = -math.inf, math.inf  # from before the tempo changed: how far FL is ahead of the line
        self._changed = time
        self._ahead = self._range()

    @property
    def position(self) -> float:
        """Quarter notes at the time of the last report."""
        least, most = self._ahead
        half = (most - least) / 2
        if math.isinf(self._known[0]):
            half = min(half, self.spread / 2 / math.sqrt(len(self._late)))
        return self._base + (least + half) * self.tempo / 60

    @property
    def spread(self) -> float:
        """Seconds that reports are late at most, but for rare ones."""
        if len(self._late) < _ENOUGH:
            return self._spread
        least = min(late for _, late in self._late)
        return 2 * (median(late for _, late in self._late) - least)

    def at(self, time: float) -> float:
        """Quarter notes at `time`."""
        return self.position + (time - self.time) * self.tempo / 60

    def report(self, time: float, position: float, tempo: float) -> None:
        """The same run was reported at `position`, heard at `time`, which is not before the last report."""
        passed = time - self.time
        if tempo == self.tempo:
            self._base += passed * tempo / 60
        else:
            self._change_tempo(passed, tempo)
            self._changed = time
        self.time = time
        self._late.append((time, (self._base - position) * 60 / tempo))
        while time - self._late[0][0] > WINDOW:
            self._late.popleft()
        if time - self._changed > NARROWED:
            self._known = -math.inf, math.inf
        self._ahead = self._range()

    def move(self, quarters: float) -> None:
        """The song has gone on at another place, `quarters` further, without losing time: a loop."""
        self._base += quarters

    def _change_tempo(self, passed: float, tempo: float) -> None:
        """Somewhere in the last `passed` seconds the tempo became `tempo`."""
        slower, faster = sorted((self.tempo, tempo))
        least, most = (self._base + ahead * self.tempo / 60 for ahead in self._ahead)
        least, most = least + passed * slower / 60, most + passed * faster / 60
        self._spread = self.spread
        self._base, half = (least + most) / 2, (most - least) / 2 * 60 / tempo
        self._known = -half, half
        self.tempo = tempo
        self._late.clear()

    def _range(self) -> tuple[float, float]:
        """How many seconds FL is ahead of the line at least and at most."""
        spread = self.spread
        least = max(self._known[0], -min(late for _, late in self._late))
        limits = (spread - late for _, late in self._late)
        most = min((each for each in limits if each >= least), default=math.inf)
        return least, max(least, min(most, self._known[1]))
