"""Frames and messages of the link to FL Studio: nothing is lost, nothing wrong gets in, nothing raises."""

from __future__ import annotations

import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from plugin_bridge.ports import fl_protocol as wire
from plugin_bridge.ports.fl_protocol import DAEMON, SCRIPT, Frame

KINDS = {
    "u8": st.integers(0, 255),
    "u16": st.integers(0, 65535),
    "u32": st.integers(0, 2**32 - 1),
    "i32": st.integers(-(2**31), 2**31 - 1),
    "text": st.text(max_size=60),
    "bytes": st.binary(max_size=60),
}
FRAMES = st.builds(
    Frame,
    st.sampled_from((SCRIPT, DAEMON)),
    st.integers(1, 16383),
    st.integers(0, 16383),
    st.binary(max_size=200),
    st.booleans(),
    st.booleans(),
    st.integers(0, 127),
    st.integers(0, 127),
    st.booleans(),
)


def content(frame: Frame) -> tuple[object, ...]:
    return tuple(getattr(frame, name) for name in Frame.__slots__)


@st.composite
def messages(draw: st.DrawFn) -> tuple[str, int, dict[str, int | str | bytes]]:
    name, sender, fields = draw(st.sampled_from(sorted(wire.MESSAGES.values())))
    return name, sender, {field: draw(KINDS[kind]) for field, kind in fields}


@given(st.binary(max_size=2000))
def test_packing_to_seven_bits_and_back_loses_nothing(data: bytes) -> None:
    packed = wire.pack7(data)
    assert max(packed, default=0) < 128
    assert len(packed) == len(data) + -(-len(data) // 7)
    assert wire.unpack7(packed) == data


@given(FRAMES)
def test_a_frame_is_read_as_it_was_written(frame: Frame) -> None:
    read = wire.parse_frame(wire.pack_frame(frame))
    assert read is not None
    assert content(read) == content(frame)


def test_the_longest_frame_is_as_long_as_may_be_and_a_longer_one_is_refused() -> None:
    assert len(wire.pack_frame(Frame(SCRIPT, 1, 2, bytes(wire.LONGEST_PAYLOAD)))) == wire.LONGEST_FRAME
    with pytest.raises(ValueError, match="at most 869 bytes, not 870"):
        wire.pack_frame(Frame(SCRIPT, 1, 2, bytes(wire.LONGEST_PAYLOAD + 1)))


@given(st.lists(messages(), max_size=5))
def test_messages_are_read_as_they_were_written_and_only_those_of_the_other_side(
    sent: list[tuple[str, int, dict[str, int | str | bytes]]],
) -> None:
    data = b"".join(wire.write_message(name, **values) for name, _, values in sent)
    for side in (SCRIPT, DAEMON):
        read = [(each.name, each.values) for each in wire.read_messages(data, side)]
        assert read == [(name, values) for name, sender, values in sent if sender == side]


def test_a_number_that_does_not_fit_is_held_at_the_end_of_its_range() -> None:
    data = wire.write_message("released", reason="stop", notes=1000)
    assert wire.read_messages(data, SCRIPT)[0].values == {"reason": "stop", "notes": 255}


def test_what_a_later_version_adds_is_passed_over() -> None:
    known = wire.write_message("project", number=3, loading=1)
    longer = known[:1] + (len(known) - 3 + 5).to_bytes(2, "little") + known[3:] + b"extra"
    unknown = b"\x63\x02\x00ab"
    read = wire.read_messages(unknown + longer + known, SCRIPT)
    assert [each.values for each in read] == [{"number": 3, "loading": 1}] * 2


@given(st.binary(max_size=80))
def test_reading_messages_never_raises(data: bytes) -> None:
    for each in wire.read_messages(data, SCRIPT) + wire.read_messages(data, DAEMON):
        assert each.name in {name for name, _, _ in wire.MESSAGES.values()}


@given(FRAMES, st.data())
def test_a_frame_with_a_wrong_byte_is_no_frame(frame: Frame, data: st.DataObject) -> None:
    good = wire.pack_frame(frame)
    at = data.draw(st.integers(0, len(good) - 1))
    value = data.draw(st.integers(0, 255).filter(lambda byte: byte != good[at]))
    assert wire.parse_frame(good[:at] + bytes((value,)) + good[at + 1 :]) is None


@given(FRAMES, st.data())
def test_a_frame_that_lacks_its_end_or_has_two_is_no_frame(frame: Frame, data: st.DataObject) -> None:
    good = wire.pack_frame(frame)
    cut = data.draw(st.integers(0, len(good) - 2))
    assert wire.parse_frame(good[:cut]) is None
    assert wire.parse_frame(good[:cut] + b"\xf7") is None
    assert wire.parse_frame(good + good) is None


@given(st.binary(max_size=1200))
@example(b"\xf0\x7d\x50\x42\x01" + bytes(1100) + b"\xf7")
def test_anything_else_is_no_frame(data: bytes) -> None:
    assert wire.parse_frame(data) is None
    wire.other_version(data)


def test_a_frame_of_another_version_is_known_as_such() -> None:
    good = wire.pack_frame(Frame(SCRIPT, 1, 2))
    assert wire.other_version(good) is None
    later = good[:4] + b"\x07" + good[5:]
    assert wire.parse_frame(later) is None
    assert wire.other_version(later) == 7
    assert wire.other_version(b"\xf0\x7d\x01\x02\x03\x04\x05\xf7") is None


@given(st.binary(max_size=wire.LONGEST_CC_PAYLOAD))
def test_a_frame_goes_as_control_changes_and_comes_back(payload: bytes) -> None:
    frame = wire.pack_frame(Frame(SCRIPT, 77, 88, payload))
    coded = wire.as_control_changes(frame)
    assert all(wire.is_coded(message) and max(message[1:]) < 128 for message in coded)
    reader = wire.ControlChangeReader()
    heard = [reader.hear(message) for message in coded]
    assert heard[-1] == frame
    assert heard[:-1] == [None] * (len(coded) - 1)


@given(st.binary(max_size=wire.LONGEST_CC_PAYLOAD), st.data())
def test_control_changes_that_lack_one_give_no_frame_and_the_next_frame_is_whole_again(
    payload: bytes, data: st.DataObject
) -> None:
    frame = wire.pack_frame(Frame(SCRIPT, 77, 88, payload))
    coded = wire.as_control_changes(frame)
    lost = data.draw(st.integers(0, len(coded) - 1))
    reader = wire.ControlChangeReader()
    for message in coded[:lost] + coded[lost + 1 :]:
        whole = reader.hear(message)
        assert whole is None or wire.parse_frame(whole) is None
    assert [reader.hear(message) for message in coded][-1] == frame


def test_a_stream_of_coded_bytes_without_end_is_not_hoarded() -> None:
    reader = wire.ControlChangeReader()
    reader.hear(b"\xbf\x66\x7d")
    for index in range(10_000):
        reader.hear(bytes((0xBF, 103 + index % 2, 1)))
        assert len(reader._body) <= 72


def test_the_checksum_is_the_published_one() -> None:
    assert wire.checksum(b"123456789") == 0x29B1  # CRC-16/IBM-3740, also called CCITT-FALSE


def test_most_of_a_hundred_thousand_frames_that_are_damaged_are_refused_and_none_raises() -> None:
    chance = random.Random(1)
    good = [wire.pack_frame(Frame(SCRIPT, 5, 6, chance.randbytes(n), number=n)) for n in range(0, 60, 3)]
    accepted = 0
    for _ in range(100_000):
        frame = bytearray(chance.choice(good))
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(frame))
            match chance.randrange(4):
                case 0:
                    frame[at] = chance.randrange(256)
                case 1:
                    del frame[at:]
                    break
                case 2:
                    frame[at:at] = chance.randbytes(2)
                case 3:
                    frame = bytearray(chance.randbytes(chance.randrange(40)))
                    break
        accepted += wire.parse_frame(bytes(frame)) is not None and bytes(frame) not in good
    assert accepted <= 3  # of a 16-bit checksum one in 65536 is the expectation at worst
