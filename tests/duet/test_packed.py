"""Bytes that are only appended: all of them come back, whole or copied, and they take less than they are."""

from __future__ import annotations

import sys
import threading

import hypothesis.strategies as st
from hypothesis import given

from plugin_bridge.duet.packed import BLOCK, Packed

PIECES = st.lists(st.binary(max_size=3 * BLOCK // 2), max_size=8)


def packed(pieces: list[bytes]) -> Packed:
    kept = Packed()
    for piece in pieces:
        kept.open.extend(piece)
        kept.settle()
    return kept


@given(PIECES)
def test_what_was_appended_comes_back(pieces: list[bytes]) -> None:
    kept = packed(pieces)
    whole = b"".join(pieces)
    assert bytes(kept) == whole
    assert len(kept) == len(whole)
    assert bytes(Packed(whole)) == whole


@given(PIECES, st.binary(max_size=2 * BLOCK))
def test_a_copy_goes_on_apart(pieces: list[bytes], more: bytes) -> None:
    kept = packed(pieces)
    before, other = bytes(kept), kept.copy()
    other.open.extend(more)
    other.settle()
    assert bytes(kept) == before
    assert bytes(other) == before + more


def test_what_repeats_takes_little_memory_and_no_block_stays_open() -> None:
    kept = packed([bytes(range(100)) * 10] * 1000)
    assert len(kept) == 1_000_000
    assert kept.occupied < 100_000
    assert len(kept.open) < BLOCK


def test_a_copy_that_is_made_while_it_is_written_is_a_beginning_of_it() -> None:
    kept, whole, done = Packed(), bytearray(), threading.Event()

    def write() -> None:
        for number in range(40_000):
            row = number.to_bytes(4, "little") * 3
            whole.extend(row)
            kept.open.extend(row)
            kept.settle()
        done.set()

    before, copies = sys.getswitchinterval(), []
    sys.setswitchinterval(1e-5)
    try:
        writer = threading.Thread(target=write)
        writer.start()
        while not done.is_set():
            copies.append(kept.copy())
        writer.join()
    finally:
        sys.setswitchinterval(before)
    assert len(copies) > 10
    for copy in copies[:: max(len(copies) // 50, 1)]:
        assert whole.startswith(bytes(copy))
        assert len(copy) % 12 == 0
