"""Bytes that are only ever appended to, kept small: what fills a block is compressed and never moved again.

One long bytearray would be copied to a larger place each time it has grown, and leave holes in the heap.
"""

from __future__ import annotations

import zlib

BLOCK = 16 * 1024
"""Bytes to a block: compressing one takes well below a millisecond."""
_LEVEL = 1


class Packed:
    """Append to `open`, then `settle`. `bytes(packed)` is all of it. One thread at a time."""

    def __init__(self, data: bytes = b"") -> None:
        self.open = bytearray()
        self._blocks: list[bytes] = []
        self._packed_size = 0
        for start in range(0, len(data), BLOCK):
            self.open += data[start : start + BLOCK]
            self.settle()

    def settle(self) -> None:
        """Close the block that is open when it is full."""
        if len(self.open) >= BLOCK:
            self._blocks.append(zlib.compress(self.open, _LEVEL))
            self._packed_size += len(self.open)
            self.open.clear()

    def __len__(self) -> int:
        return self._packed_size + len(self.open)

    def __bytes__(self) -> bytes:
        return b"".join((*(zlib.decompress(block) for block in self._blocks), self.open))

    @property
    def occupied(self) -> int:
        """Bytes of memory that it takes, about."""
        return sum(map(len, self._blocks)) + len(self.open)

    def copy(self) -> Packed:
        """The same, apart; closed blocks are shared."""
        other = Packed()
        other.open, other._blocks, other._packed_size = self.open[:], self._blocks[:], self._packed_size
        return other
