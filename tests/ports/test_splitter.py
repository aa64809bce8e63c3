"""Whole messages from the bytes of a wire."""

from __future__ import annotations

import itertools

import hypothesis.strategies as st
import pytest
from hypothesis import given

from plugin_bridge.ports.splitter import Splitter
from plugin_bridge.ports.wire import check_message


@pytest.mark.parametrize(
    ("wire", "messages"),
    [
        ("90 3c 40", ["90 3c 40"]),
        ("90 3c 40 3e 41 40 00", ["90 3c 40", "90 3e 41", "90 40 00"]),  # running status
        ("90 3c f8 40", ["f8", "90 3c 40"]),  # a clock in the middle of a note
        ("90 3c 40 f8 3e 41", ["90 3c 40", "f8", "90 3e 41"]),  # ... and it keeps the running status
        ("f0 7d 01 f8 02 f7", ["f8", "f0 7d 01 02 f7"]),
        ("f0 7d 01 90 3c 40", ["90 3c 40"]),  # a SysEx that is broken off
        ("c0 05 06", ["c0 05", "c0 06"]),
        ("90 3c 40 f2 10 20 3e 41", ["90 3c 40", "f2 10 20"]),  # system common ends running status
        ("3c 40", []),
        ("f6 fe ff", ["f6", "fe", "ff"]),
        ("f4 12 90 3c 40", ["90 3c 40"]),  # an undefined status
        ("f7", []),
        ("", []),
    ],
)
def test_a_wire_and_its_messages(wire: str, messages: list[str]) -> None:
    data = bytes.fromhex(wire)
    assert [message.hex(" ") for message in Splitter().feed(data)] == messages
    byte_by_byte = Splitter()
    assert [m.hex(" ") for byte in data for m in byte_by_byte.feed(bytes((byte,)))] == messages


@given(st.lists(st.binary(max_size=12), max_size=20))
def test_whatever_comes_only_whole_messages_leave(pieces: list[bytes]) -> None:
    splitter = Splitter()
    for piece in pieces:
        for message in splitter.feed(piece):
            check_message(message)


@given(st.binary(max_size=200), st.data())
def test_where_the_wire_is_cut_makes_no_difference(data: bytes, draw) -> None:
    whole = _feed(data, [])
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=6)))
    assert _feed(data, cuts) == whole


def _feed(data: bytes, cuts: list[int]) -> list[bytes]:
    splitter = Splitter()
    edges = [0, *cuts, len(data)]
    return [m for a, b in itertools.pairwise(edges) for m in splitter.feed(data[a:b])]
