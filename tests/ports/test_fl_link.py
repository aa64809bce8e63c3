"""The program's end of the link to FL Studio, by itself: whatever a script says, nothing raises."""

from __future__ import annotations

import math

from fakes.fl_pair import counter
from hypothesis import given
from hypothesis import strategies as st

from plugin_bridge.ports.fl_link import FlLink, HostState
from plugin_bridge.ports.fl_protocol import MESSAGES, PLAYING, SCRIPT, Frame, pack_frame, write_message

ME = 500  # the script's id
PLAYS = write_message(
    "transport", flags=PLAYING, run=1, tempo=120_000, position=0, quarter=96, bar=384, loop_start=-1,
    loop_end=-1,
)  # fmt: skip
FIELDS = {
    "u8": st.integers(0, 255),
    "u16": st.integers(0, 65535),
    "u32": st.integers(0, 2**32 - 1) | st.integers(1000, 1_000_000),
    "i32": st.integers(-(2**31), 2**31 - 1),
    "text": st.text(max_size=30),
    "bytes": st.binary(max_size=30),
}


@st.composite
def said(draw: st.DrawFn) -> bytes:
    name, _, fields = draw(st.sampled_from([row for row in MESSAGES.values() if row[1] == SCRIPT]))
    return write_message(name, **{field: draw(FIELDS[kind]) for field, kind in fields})


def linked() -> FlLink:
    link = FlLink(new_id=counter(100))
    link.hear(pack_frame(Frame(SCRIPT, ME, 100)), 1.0)  # the program then takes the id 101
    link.hear(pack_frame(Frame(SCRIPT, ME, 101)), 1.0)
    assert link.linked
    return link


@given(st.lists(st.tuples(said(), st.floats(0, 3), st.booleans()), max_size=30))
def test_whatever_a_script_says_nothing_raises_and_what_is_known_makes_sense(
    messages: list[tuple[bytes, float, bool]],
) -> None:
    link, time, number = linked(), 1.0, 0
    for data, pause, reliable in messages:
        time += pause
        frame = Frame(SCRIPT, ME, 101, data, reliable, number=number)
        number = (number + reliable) % 128
        assert link.hear(pack_frame(frame), time)
        state = link.at(time)
        timeline = state.timeline
        assert timeline.tempo is None or 1 <= timeline.tempo <= 1000
        assert 1 <= timeline.beats_in_bar <= 64
        assert timeline.sixteenths in (1, 2, 4)
        assert timeline.metre_id(time) >= 0
        assert state.loop is None or 0 <= state.loop[0] < state.loop[1]
        assert state.channel >= -1
        position = timeline.position(time)
        assert position is not None
        assert math.isfinite(position)
        link.frames_due(time)
        assert all(max(turned.message[1:]) < 128 for turned in link.knobs.take())


def test_at_first_nothing_is_known_and_a_beacon_goes_out() -> None:
    link = FlLink(new_id=counter(100))
    assert HostState() == link.at(5.0)
    assert len(link.frames_due(5.0)) == 1
    assert link.frames_due(5.001) == []


def test_music_and_times_that_are_none_are_not_taken() -> None:
    link = linked()
    assert not link.hear(b"\x90\x3c\x40", 1.0)
    assert not link.hear(b"\xf8", 1.0)
    assert not link.hear(pack_frame(Frame(SCRIPT, ME, 101)), math.nan)
    assert not link.hear(b"", 1.0)


def test_a_second_script_says_nothing_of_the_transport() -> None:
    link = linked()
    link.hear(pack_frame(Frame(SCRIPT, 900, 0, PLAYS)), 1.1)
    assert not link.at(1.1).timeline.alive
    link.hear(pack_frame(Frame(SCRIPT, ME, 101, PLAYS)), 1.2)
    assert link.at(1.2).timeline.playing


def test_a_goodbye_ends_the_transport_at_once() -> None:
    link = linked()
    link.hear(pack_frame(Frame(SCRIPT, ME, 101, PLAYS)), 1.2)
    link.hear(pack_frame(Frame(SCRIPT, ME, 101, bye=True)), 1.21)
    assert not link.at(1.21).timeline.playing
    assert not link.linked
