"""When a message really came in, although it was fetched a little later.

A backend gives each message the seconds since the one before it, measured where the message arrived. The
thread that fetches messages sees them late by up to its polling period, and by more while other Python
threads run. Adding up the backend's deltas from the least delayed message so far takes that delay out.
"""

from __future__ import annotations

RELAX = 1e-3  # per second of delta: follows clocks that drift, by far more than quartz does
TRUSTED_DELAY = 0.05  # seconds; a larger disagreement means that the backend lost a delta


class ArrivalClock:
    """Turns the backend's deltas into times of the program's clock. Not thread-safe: one per reader."""

    def __init__(self) -> None:
        self._last: float | None = None

    def stamp(self, delta: float, fetched: float) -> float:
        """The arrival time of a message that came `delta` seconds after the one before it.

        `fetched` is the present time of the program's clock. The result never lies after `fetched`, and
        never before the result for the message before.
        """
        if self._last is None or delta < 0:
            self._last = fetched
            return fetched
        expected = self._last + delta * (1 + RELAX)
        arrived = expected if fetched - TRUSTED_DELAY <= expected <= fetched else fetched
        self._last = arrived
        return arrived

    def restart(self) -> None:
        """Forget the past: the next message is taken to arrive when it is fetched."""
        self._last = None
