"""What waits while the other end does not read."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from plugin_bridge.ports.frames import Deframer, midi_frame
from plugin_bridge.ports.held import Held
from plugin_bridge.ports.outbox import Outbox, ends

notes = st.tuples(st.sampled_from((0x80, 0x90, 0xB0)), st.sampled_from((60, 61, 64)), st.integers(0, 127))
"""Notes on and off, and the pedal (64) among other controllers."""


def arrived(data: bytes) -> list[bytes]:
    return [frame.midi[0] for frame in Deframer().feed(data)]


def put(outbox: Outbox, message: bytes) -> None:
    outbox.put(midi_frame(message, 0.0), message)


@given(st.lists(st.one_of(notes, st.none()), max_size=60))
def test_however_much_is_dropped_no_note_hangs(steps: list[tuple[int, int, int] | None]) -> None:
    """None: the other end reads for once. What sounds at the end is at most what was meant to sound."""
    outbox, meant, got = Outbox(limit=4), Held(), Held()
    for step in steps:
        if step is None:
            for message in arrived(outbox.take()):
                got.follow(message)
        else:
            meant.follow(bytes(step))
            put(outbox, bytes(step))
    for message in arrived(outbox.take()):
        got.follow(message)
    assert set(got.end()) <= set(meant.end())


def test_a_flood_is_bounded_and_counted() -> None:
    outbox = Outbox(limit=100)
    for index in range(50_000):
        put(outbox, bytes((0x90, index % 128, 64)))
        put(outbox, bytes((0x80, index % 128, 0)))
    found = arrived(outbox.take())
    assert len(found) == 100 + 128
    assert outbox.dropped > 49_000
    assert {message[1] for message in found if ends(message)} == set(range(128))
    assert not outbox


def test_what_fits_goes_in_its_order() -> None:
    outbox = Outbox()
    sent = [b"\x90\x3c\x40", b"\xf8", b"\x80\x3c\x00", b"\xf0\x7d\x01\xf7"]
    for message in sent:
        put(outbox, message)
    assert arrived(outbox.take()) == sent
