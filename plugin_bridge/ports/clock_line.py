"""The line through the recent MIDI clocks: their tempo, against jitter, holes and bursts.

A beat of clocks (24) tells the tempo to half a percent at 3 ms of jitter, four beats to a tenth of that. A
clock that the next one follows at once was held up and is not used; a first line is Theil's incomplete one
(H. Theil, "A rank-invariant method of linear and polynomial regression analysis", 1950: the median of slopes
over half the window), and least squares use what lies near it. When the last half beat lies off the line as
a whole the tempo has changed, and all before it is forgotten. When clocks are late by whole clocks and stay
so, that many were lost on the way, and are counted as if they had come; unless that happens again and again.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

_MOST, _RECENT, _FEWEST = 96, 12, 6  # clocks: in the line at most, that show a change, for a first tempo
_SHORTEST, _LONGEST = 60 / 24 / 1000, 60 / 24 / 8  # seconds between clocks, 1000 to 8 beats a minute
_CHANGED = 5.0  # standard errors of a mean of the recent clocks, were all well
_SHIFTED = 0.3  # of a clock: what is further off does not belong to the line
_HELD_UP = 0.35  # of a clock: what the next one follows so closely came late
_LEAST_JITTER = 0.0005  # seconds, standard deviation
_MOST_LOST = 6  # clocks; a longer hole is rather a host that stood still
_MOST_LATE = 6  # clocks after a hole that tell what it was; one more, and the line would follow them
_APART = 40 * 24  # clocks from one lost to the next at least; what is left out more often is no loss
_BEAT_SPREAD = 24**3 / 12  # sum of squared deviations of the numbers of a beat's clocks


@dataclass(frozen=True, slots=True)
class Line:
    """Clock number n comes at `start` + n * `period` seconds, give or take `jitter` (standard deviation)."""

    start: float
    period: float
    jitter: float

    def time(self, number: float) -> float:
        return self.start + number * self.period

    def late(self, clock: tuple[int, float]) -> float:
        """How late `clock` (number, seconds) came, in clocks."""
        return (clock[1] - self.time(clock[0])) / self.period


class RecentClocks:
    """The recent clocks, numbered, and the line through them (None: too few came)."""

    def __init__(self) -> None:
        self.number = -1  # of the last one
        self.line: Line | None = None
        self._recent: deque[tuple[int, float]] = deque(maxlen=_MOST)
        self._lines: deque[Line] = deque(maxlen=_MOST_LATE + 1)  # newest last
        self._first = 0  # no clock before this one has the tempo of now
        self._hole: tuple[int, int] | None = None  # the clock after the last one, and how many it took
        self._holes_are_real = True
        self._expected: float | None = None  # the period before the stream broke off

    def break_off(self) -> None:
        """The next clocks have nothing to do with the last but, likely, their tempo."""
        self._recent.clear()
        self._lines.clear()
        self._hole, self._holes_are_real = None, True
        self._expected = self.line.period if self.line else None

    def add(self, time: float, *, may_break: bool) -> None:
        """The next clock. `may_break`: hosts may shift the clocks here, where the transport starts."""
        self.number += 1
        clock = self.number, time
        if may_break and self._recent and self.line and abs(self.line.late(clock)) > _SHIFTED:
            self.break_off()
        self._recent.append(clock)
        self._make_up_for_lost()
        self.line = self._fit() or self.line
        if self.line and not _SHORTEST <= self.line.period <= _LONGEST:
            self.line = self._expected = None
        if self.line:
            self._lines.append(self.line)

    def _make_up_for_lost(self) -> None:
        """Where four to six clocks in a row are late by one whole number of clocks, that many were lost."""
        if not self._holes_are_real or len(self._lines) <= _MOST_LATE or len(self._recent) < 2 * _RECENT:
            return
        line = self._lines[0]
        if line.period < 4 * line.jitter:
            return
        late = [line.late(clock) for clock in list(self._recent)[-_MOST_LATE - 4 :]]
        for count in range(4, _MOST_LATE + 1):
            lost = round(_mean(late[-count:]))
            if 1 <= lost <= _MOST_LOST and _stepped(late[-count - 4 : -count], late[-count:], lost):
                self._count_hole(self.number - count + 1, lost)
                return

    def _count_hole(self, first: int, lost: int) -> None:
        """Clock `first` and all since are `lost` further on, unless holes are this host's way: one that sends
        in blocks as long as a clock leaves one out now and then, and its count is right all the same."""
        if self._hole is not None and first - self._hole[0] < _APART:
            first, lost = self._hole[0], -self._hole[1]
            self._holes_are_real = False
        self._hole = first, lost
        self._recent = deque(
            ((number + lost * (number >= first), time) for number, time in self._recent), maxlen=_MOST
        )
        self.number += lost
        self._lines.clear()

    def _fit(self) -> Line | None:
        known = self.line.period if self.line else 0.0
        clocks = list(self._recent)
        jitter = _jitter(clocks)
        following = [*(time for _, time in clocks[1:]), math.inf]
        pairs = [pair for pair in zip(clocks, following, strict=True) if pair[0][0] >= self._first]
        prompt = [clock for clock, after in pairs if after - clock[1] >= _HELD_UP * known]
        if len(prompt) < min(_FEWEST, len(pairs)):  # a tempo three times as fast
            prompt = [clock for clock, _ in pairs]
        line = _line(prompt, jitter, self._expected)
        if line is not None and len(prompt) > _RECENT:
            off = sorted(time - line.time(number) for number, time in prompt[-_RECENT:])
            if abs(_mean(off[_RECENT // 4 : -_RECENT // 4])) > _CHANGED * jitter / math.sqrt(_RECENT):
                self._first, self._expected = prompt[-_RECENT][0], None
                prompt = prompt[-_RECENT:]
                line = _line(prompt, jitter, None)
        if line is not None and known and len(prompt) <= 2 * _RECENT and _jumped(prompt, line, known):
            return Line(median(time - number * known for number, time in prompt), known, jitter)
        return line


def _jumped(clocks: Sequence[tuple[int, float]], line: Line, period: float) -> bool:
    """Whether `clocks` lie on no one line, and yet come at about `period` still: they have shifted, and a
    line through both sides of the shift has a wrong tempo."""
    if max(abs(time - line.time(number)) for number, time in clocks) <= 4 * line.jitter:
        return False
    last = clocks[-_FEWEST:]
    return abs(median((b[1] - a[1]) / (b[0] - a[0]) for a, b in pairwise(last)) / period - 1) < 0.12


def _stepped(before: Sequence[float], after: Sequence[float], size: int) -> bool:
    """Whether the clocks were on the line `before`, and `after` lie `size` behind it, level: neither a tempo
    that changes nor a burst lies level."""
    half = len(after) // 2
    level = abs(_mean(after[half:]) - _mean(after[:half])) < 0.4 and all(abs(x - size) < 0.75 for x in after)
    return level and abs(_mean(after) - size) < 0.25 and abs(_mean(before)) < 0.25


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _jitter(clocks: Sequence[tuple[int, float]]) -> float:
    """The standard deviation of the clocks' times, from second differences: blind to tempo and its steps.

    From their ninth decile, for clocks sent in blocks of an audio buffer are even most of the time.
    """
    times = [time for _, time in clocks]
    bends = sorted(abs(a - 2 * b + c) for a, b, c in zip(times, times[1:], times[2:], strict=False))
    return (
        max(bends[int(0.9 * len(bends))] / (1.645 * math.sqrt(6)), _LEAST_JITTER) if bends else _LEAST_JITTER
    )


def _line(clocks: Sequence[tuple[int, float]], jitter: float, expected: float | None) -> Line | None:
    """The line through `clocks`, its period drawn to the `expected` one as far as they do not contradict."""
    if len(clocks) < _FEWEST:
        if expected is None or not clocks:
            return None
        return Line(median(time - number * expected for number, time in clocks), expected, jitter)
    half = len(clocks) // 2
    pairs = zip(clocks[:half], clocks[half:], strict=False)
    period = median((later[1] - sooner[1]) / (later[0] - sooner[0]) for sooner, later in pairs)
    start = median(time - number * period for number, time in clocks)
    near = [clock for clock in clocks if abs(clock[1] - start - clock[0] * period) <= 4 * jitter]
    near = near if len(near) >= max(_FEWEST, half) else list(clocks)
    middle = _mean([number for number, _ in near])
    mean = _mean([time for _, time in near])
    spread = sum((number - middle) ** 2 for number, _ in near)
    period = sum((number - middle) * (time - mean) for number, time in near) / spread
    if expected is not None and abs(period - expected) < 4 * jitter / math.sqrt(spread):
        period = (spread * period + _BEAT_SPREAD * expected) / (spread + _BEAT_SPREAD)
    return Line(mean - middle * period, period, jitter)
