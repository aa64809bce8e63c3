"""Whole numbers that change little from one to the next, in a byte or two each.

Each is written as its difference from the one before, zigzag (0, -1, 1, -2, ...: small numbers of either
sign stay small), in groups of seven bits with the lowest first and the top bit set on all but the last: the
encoding of signed integers in Protocol Buffers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from plugin_bridge.duet.packed import Packed
from plugin_bridge.errors import BridgeError

LONGEST: Final = 10
"""Bytes of a number: 64 bits and no more."""


def write_number(into: bytearray, number: int) -> None:
    """Append `number`, of 64 bits, at once: whoever copies `into` meanwhile has all of it or nothing."""
    left = number << 1 if number >= 0 else ~number << 1 | 1
    encoded = bytearray()
    while left > 0x7F:
        encoded.append(left & 0x7F | 0x80)
        left >>= 7
    encoded.append(left)
    into += encoded


def read_number(data: bytes | bytearray, at: int) -> tuple[int, int]:
    """The number that begins at `at`, and where the next does. BridgeError where none is whole."""
    number = 0
    for index, byte in enumerate(data[at : at + LONGEST]):
        number |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return number >> 1 ^ -(number & 1), at + index + 1
    raise BridgeError("a number is cut off or too long")


class Differences:
    """A series of whole numbers. `data` are the bytes of one that is read back; BridgeError when its end is
    missing."""

    def __init__(self, data: bytes = b"") -> None:
        self._data = Packed(data)
        self._count = sum(byte < 0x80 for byte in data)
        self._last = 0
        for number in self:
            self._last = number

    def append(self, number: int) -> None:
        """One more."""
        write_number(self._data.open, number - self._last)
        self._data.settle()
        self._last = number
        self._count += 1

    def __iter__(self) -> Iterator[int]:
        at, number, data = 0, 0, bytes(self._data)
        while at < len(data):
            difference, at = read_number(data, at)
            number += difference
            yield number

    def __len__(self) -> int:
        return self._count

    def __bytes__(self) -> bytes:
        return bytes(self._data)

    @property
    def size(self) -> int:
        """Bytes so far."""
        return len(self._data)

    @property
    def occupied(self) -> int:
        """Bytes of memory that they take, about."""
        return self._data.occupied

    def copy(self) -> Differences:
        """The same, apart."""
        other = Differences()
        other._data, other._count, other._last = self._data.copy(), self._count, self._last
        return other
