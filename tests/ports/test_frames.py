"""Frames between the daemon and its port keeper."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugin_bridge.ports.connections import Connections
from plugin_bridge.ports.frames import (
    LARGEST,
    Deframer,
    Kind,
    connections_from,
    midi_frame,
    value_frame,
    view_from,
    view_value,
)
from plugin_bridge.ports.patch_view import PatchView, PortView

ON = b"\x90\x3c\x40"
messages = st.lists(st.tuples(st.binary(min_size=1, max_size=40), st.floats(0, 1e9)), max_size=20)


@given(messages, st.lists(st.integers(1, 30), min_size=1, max_size=30))
def test_messages_and_their_times_arrive_whole_however_the_wire_cuts_them(
    sent: list[tuple[bytes, float]], cuts: list[int]
) -> None:
    wire = b"".join(midi_frame(message, time) for message, time in sent)
    deframer, found, at = Deframer(), [], 0
    while at < len(wire):
        length = cuts[at % len(cuts)]
        found += deframer.feed(wire[at : at + length])
        at += length
    assert [frame.midi for frame in found] == sent


def test_half_a_message_is_no_message() -> None:
    deframer = Deframer()
    wire = midi_frame(ON, 1.0)
    assert deframer.feed(wire[:-1]) == []
    assert [frame.midi for frame in deframer.feed(wire[-1:])] == [(ON, 1.0)]


@pytest.mark.parametrize(
    "wire", [b"\x01" + (LARGEST + 1).to_bytes(4, "little"), b"\x09\x00\x00\x00\x00", b"\x00\x00\x00\x00\x00"]
)
def test_what_no_keeper_says_is_refused(wire: bytes) -> None:
    with pytest.raises(ValueError, match=r"frame|Kind"):
        Deframer().feed(wire)


def test_a_view_and_connections_come_over_as_they_are() -> None:
    view = PatchView(
        "jack",
        (PortView("Keys:é", "input", True, patterns=("Keys*",)), PortView("Out", "output", False, own=True)),
        (("output", "Synth*"),),
        ("no",),
        7,
    )
    [frame] = Deframer().feed(value_frame(Kind.VIEW, view_value(view)))
    assert (frame.kind, view_from(frame.value)) == (Kind.VIEW, view)
    wanted = {"listen": ["a*"], "play": []}
    [frame] = Deframer().feed(value_frame(Kind.FOLLOW, wanted))
    assert connections_from(frame.value) == Connections(("a*",), ())
