"""Bytes that are only ever appended to, kept small: what fills a block is compressed and never moved again.

One long bytearray would be copied to a larger place each time it has grown, and leave holes in the heap.
"""

from __future__ import annotations

import zlib

BLOCK = 16 * 1024
"""Bytes to a block: compressing one takes well below a millisecond."""
_LEVEL = 1


class Packed:
    """Append to `open`, then `settle`. `bytes(packed)` is all of it. One thread appends, any may copy."""

    def __init__(self, data: bytes = b"") -> None:
        self._parts: tuple[tuple[bytes, ...], int, bytearray] = (), 0, bytearray()
        for start in range(0, len(data), BLOCK):
            self.open.extend(data[start : start + BLOCK])
            self.settle()

    @property
    def open(self) -> bytearray:
        """The block that is not full."""
        return self._parts[2]

    def settle(self) -> None:
        """Close the block that is open when it is full."""
        blocks, size, last = self._parts
        if len(last) >= BLOCK:
            self._parts = (*blocks, zlib.compress(last, _LEVEL)), size + len(last), bytearray()

    def __len__(self) -> int:
        _, size, last = self._parts
        return size + len(last)

    def __bytes__(self) -> bytes:
        blocks, _, last = self._parts
        return b"".join((*(zlib.decompress(block) for block in blocks), last))

    @property
    def occupied(self) -> int:
        """Bytes of memory that it takes, about."""
        blocks, _, last = self._parts
        return sum(map(len, blocks)) + len(last)

    def copy(self) -> Packed:
        """The same, apart; closed blocks are shared."""
        other = Packed()
        blocks, size, last = self._parts
        other._parts = blocks, size, last[:]
        return other
