"""The latest of a series of measurements, in memory that does not grow."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterator


class Latest(Collection[float]):
    """The latest `most` numbers, the oldest first, in 8 bytes each from the start. One thread appends, any
    may read."""

    def __init__(self, most: int) -> None:
        self._values = array("d", bytes(8 * most))
        self._count = 0

    def append(self, value: float) -> None:
        """One more; the oldest beyond `most` goes."""
        self._values[self._count % len(self._values)] = value
        self._count += 1

    def clear(self) -> None:
        """Begin anew."""
        self._count = 0

    def __len__(self) -> int:
        return min(self._count, len(self._values))

    def __contains__(self, value: object) -> bool:
        return any(value == each for each in self)

    def __iter__(self) -> Iterator[float]:
        values, count = self._values[:], self._count
        if count <= len(values):
            return iter(values[:count])
        place = count % len(values)
        return iter(values[place:] + values[:place])
