"""When the machine is too slow: a ladder of measures, taken one at a time and taken back when there is room.

The load is the time that planning takes for a second of music. Above `HIGH` for a second the next rung is
taken, below `LOW` for ten seconds the last is given back. Notes that would be late are never played in a
burst: the scheduler leaves them out, and each of them counts as a reason to go up. Pure bookkeeping:
times come in.

What a draw costs beside a step of the model is next to nothing (`bench sampler`), so cheaper sampling means
here that fewer continuations are drawn.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from enum import IntEnum

HIGH, LOW = 0.7, 0.35
"""Seconds of planning for a second of music."""
MEMORY = 2.0
"""Seconds after which the load has mostly forgotten."""
ENOUGH = 0.2
"""Seconds of music that the load is judged by at least: notes of one chord gain none."""
PATIENCE = 1.0
RECOVERY = 10.0
REST = 4.0
"""Seconds of a rest, before the partner tries again."""
_KEPT = 1000


class Rung(IntEnum):
    """The measures, each with those before it."""

    FULL = 0
    SHORT_LOOKAHEAD = 1
    """The plan reaches half as far: less of it is taken back."""
    FEWER_FORKS = 2
    """Half as many continuations are tried."""
    ONE_DRAW = 3
    """Each note is drawn once."""
    SPACED = 4
    """No more than four onsets a second."""
    REST = 5
    """The partner is silent for a while."""

    @property
    def said(self) -> str:
        """The measure, for people."""
        return _SAID[self]


_SAID = {
    Rung.FULL: "everything as set",
    Rung.SHORT_LOOKAHEAD: "planning half as far ahead",
    Rung.FEWER_FORKS: "half as many continuations",
    Rung.ONE_DRAW: "one continuation",
    Rung.SPACED: "four onsets a second at most",
    Rung.REST: "a rest",
}


@dataclass(frozen=True, slots=True)
class PaceStep:
    """At `time` (clock seconds) the rung became `rung`, at a load of `load`."""

    time: float
    rung: Rung
    load: float


class Pace:
    """Follows the load and says what to do about it. `steps` are the latest changes, `count` is how many
    there were, `highest` the highest rung so far."""

    def __init__(self) -> None:
        self.rung = Rung.FULL
        self.steps: deque[PaceStep] = deque(maxlen=_KEPT)
        self.count = 0
        self.highest = Rung.FULL
        self._took = self._gained = 0.0  # seconds, forgotten with time
        self._high_since: float | None = None
        self._low_since: float | None = None
        self._rest_until = 0.0
        self._dropped = 0

    @property
    def load(self) -> float:
        """Seconds of planning for a second of music, over about the latest two seconds of it."""
        return self._took / self._gained if self._gained > 0 else 0.0

    def planned(self, time: float, took: float, gained: float) -> None:
        """Planning that ended at `time` took `took` seconds and gained `gained` seconds of music."""
        keep = math.exp(-max(gained, took) / MEMORY)
        self._took, self._gained = keep * self._took + took, keep * self._gained + gained
        if self._gained > ENOUGH:
            self._judge(time)

    def dropped(self, time: float, count: int) -> None:
        """`count` notes came too late so far; any new one is a reason to go up."""
        if count > self._dropped:
            self._dropped = count
            self._step(time, +1)

    def lookahead(self, seconds: float) -> float:
        """How far to plan, where the user wants `seconds`."""
        return max(seconds / 2, 0.2) if self.rung >= Rung.SHORT_LOOKAHEAD else seconds

    def forks(self, wanted: int) -> int:
        """How many continuations to try."""
        if self.rung >= Rung.ONE_DRAW:
            return 1
        return -(-wanted // 2) if self.rung >= Rung.FEWER_FORKS else wanted

    @property
    def fewest_ticks(self) -> int:
        """Ticks of 10 ms from onset to onset at least."""
        return 25 if self.rung >= Rung.SPACED else 0

    def resting(self, time: float) -> bool:
        """Whether the partner is silent at `time`. After a rest it tries again, spaced."""
        if self.rung is Rung.REST and time >= self._rest_until:
            self._step(time, -1)
        return self.rung is Rung.REST

    def _judge(self, time: float) -> None:
        load = self.load
        self._high_since = (self._high_since or time) if load > HIGH else None
        self._low_since = (self._low_since or time) if load < LOW else None
        if self._high_since is not None and time - self._high_since >= PATIENCE:
            self._step(time, +1)
        elif self._low_since is not None and time - self._low_since >= RECOVERY and self.rung:
            self._step(time, -1)

    def _step(self, time: float, by: int) -> None:
        rung = Rung(min(max(self.rung + by, Rung.FULL), Rung.REST))
        self._high_since = self._low_since = None
        if rung is Rung.REST:
            self._rest_until = time + REST
            self._took = self._gained = 0.0
        if rung is not self.rung:
            self.rung = rung
            self.highest = max(self.highest, rung)
            self.count += 1
            self.steps.append(PaceStep(time, rung, round(self.load, 3)))

    def since(self, count: int) -> list[PaceStep]:
        """The steps after the first `count`, as far as they are kept."""
        return list(self.steps)[-(self.count - count) :] if self.count > count else []
