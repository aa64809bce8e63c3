"""Raw messages and events: what a port delivers means what the MIDI specification says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugin_bridge.music.events import Event, NoteOff, NoteOn, Part, Pedal
from plugin_bridge.ports.messages import (
    AllNotesOff,
    ProgramChange,
    all_off,
    event_from_message,
    message_from_event,
)
from plugin_bridge.ports.wire import MAX_MESSAGE_BYTES, check_message

pitches = st.integers(0, 127)
parts = st.sampled_from(Part)
events = st.one_of(
    st.builds(NoteOn, st.just(1.5), pitches, st.integers(1, 127), parts),
    st.builds(NoteOff, st.just(1.5), pitches, parts),
    st.builds(Pedal, st.just(1.5), st.booleans(), parts),
)


@given(events, st.integers(0, 15))
def test_an_event_survives_the_wire_on_every_channel(event: Event, channel: int) -> None:
    message = message_from_event(event, channel)
    check_message(message)
    assert message[0] & 0x0F == channel
    assert event_from_message(message, 1.5, event.part) == event


@pytest.mark.parametrize(
    ("message", "meaning"),
    [
        ((0x90, 60, 100), NoteOn(2.0, 60, 100)),
        ((0x9F, 60, 1), NoteOn(2.0, 60, 1)),
        ((0x90, 60, 0), NoteOff(2.0, 60)),
        ((0x83, 60, 0), NoteOff(2.0, 60)),
        ((0xB0, 64, 63), Pedal(2.0, False)),
        ((0xB5, 64, 64), Pedal(2.0, True)),
        ((0xB0, 121, 0), Pedal(2.0, False)),
        ((0xB0, 120, 0), AllNotesOff(2.0)),
        ((0xB0, 123, 0), AllNotesOff(2.0)),
        ((0xB0, 126, 1), AllNotesOff(2.0)),
        ((0xB0, 122, 0), None),  # local control
        ((0xB0, 1, 64), None),
        ((0xE0, 0, 64), None),
        ((0xC0, 5), ProgramChange(2.0, 5)),
        ((0xCF, 0), ProgramChange(2.0, 0)),
        ((0xC0, 128), None),
        ((0xC0,), None),
        ((0xF8,), None),
        ((0xF2, 1, 2), None),
        ((0xF0, 0x7D, 0xF7), None),
        ((), None),
        ((0x90,), None),
        ((0x90, 60), None),
        ((0x90, 60, 128), None),
        ((0x90, 200, 64), None),
        ((0x90, 60, 64, 0), None),
        ((60, 64, 0), None),
        ((0x190, 60, 64), None),
        ((-112, 60, 64), None),
    ],
)
def test_what_a_message_means(message: tuple[int, ...], meaning: object) -> None:
    assert event_from_message(message, 2.0) == meaning


@given(st.one_of(st.binary(max_size=12), st.lists(st.integers(-300, 300), max_size=4)), st.floats(), parts)
def test_no_bytes_whatever_raise(message: bytes | list[int], time: float, part: Part) -> None:
    event = event_from_message(message, time, part)
    assert event is None or isinstance(event, ProgramChange) or event.part is part


def test_all_off_raises_the_pedal_and_names_every_held_note_once() -> None:
    messages = all_off(2, [64, 60, 64])
    assert messages[0] == bytes((0xB2, 64, 0))
    assert [event_from_message(m, 0.0) for m in messages[1:-1]] == [NoteOff(0.0, 60), NoteOff(0.0, 64)]
    assert event_from_message(messages[-1], 0.0) == AllNotesOff(0.0)


@pytest.mark.parametrize("channel", [-1, 16])
def test_a_channel_that_is_none_is_refused(channel: int) -> None:
    with pytest.raises(ValueError, match="channel"):
        message_from_event(NoteOff(0.0, 60), channel)
    with pytest.raises(ValueError, match="channel"):
        all_off(channel, [])


@pytest.mark.parametrize(
    "message",
    [
        b"\x90\x3c\x40",
        b"\xc0\x05",
        b"\xf8",
        b"\xf1\x10",
        b"\xf0\xf7",
        b"\xf0" + bytes(MAX_MESSAGE_BYTES - 2) + b"\xf7",
    ],
)
def test_whole_messages_may_be_sent(message: bytes) -> None:
    check_message(message)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\x3c\x40\x40",
        b"\x90\x3c",
        b"\x90\x3c\x80",
        b"\xc0\x05\x05",
        b"\xf8\x00",
        b"\xf7",
        b"\xf0",
        b"\xf0\x7d",
        b"\xf0\x90\xf7",
        b"\xf0" + bytes(MAX_MESSAGE_BYTES) + b"\xf7",
    ],
)
def test_what_is_no_whole_message_may_not_be_sent(message: bytes) -> None:
    with pytest.raises(ValueError, match=r"message|SysEx|data byte"):
        check_message(message)
