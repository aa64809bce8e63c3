"""What is turned in FL Studio comes through once and in order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from plugin_bridge.ports.fl_knobs import MOST_WAITING, KnobReports, Turned


def move(number: int, value: int, channel: int = 0) -> bytes:
    return bytes((channel, number, value))


def values(knobs: KnobReports) -> list[int]:
    return [each.message[2] for each in knobs.take()]


def test_a_move_is_the_control_change_that_the_knob_sent() -> None:
    knobs = KnobReports()
    knobs.hear(1, 1, move(21, 64, channel=3), 5.0)
    assert knobs.take() == (Turned(b"\xb3\x15\x40", 5.0),)
    assert knobs.take() == ()


def test_moves_that_are_repeated_count_once_and_lost_reports_are_made_up_for() -> None:
    knobs = KnobReports()
    moves = [move(7, value) for value in (10, 20, 30, 40, 50)]
    knobs.hear(1, 1, moves[0], 0.0)
    knobs.hear(1, 4, b"".join(moves[:4]), 0.0)  # 2 and 3 were in reports that were lost
    knobs.hear(1, 4, b"".join(moves[:4]), 0.0)
    knobs.hear(1, 2, b"".join(moves[:2]), 0.0)  # late
    knobs.hear(1, 5, b"".join(moves[1:]), 0.0)
    assert values(knobs) == [10, 20, 30, 40, 50]


def test_two_controllers_count_apart() -> None:
    knobs = KnobReports()
    knobs.hear(1, 50, move(7, 1), 0.0)
    knobs.hear(2, 1, move(7, 2), 0.0)
    knobs.hear(1, 51, move(7, 3), 0.0)
    assert values(knobs) == [1, 2, 3]


def test_a_press_and_a_release_are_both_told() -> None:
    knobs = KnobReports()
    knobs.hear(1, 2, move(7, 127) + move(7, 0), 0.0)
    assert values(knobs) == [127, 0]


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 65535), st.binary(max_size=40)), max_size=60))
def test_whatever_is_reported_it_comes_out_as_control_changes_and_memory_is_bounded(
    reports: list[tuple[int, int, bytes]],
) -> None:
    knobs = KnobReports()
    for source, last, moves in reports:
        knobs.hear(source, last, moves, 0.0)
    assert len(knobs._last) <= 16
    for turned in knobs.take():
        assert turned.message[0] & 0xF0 == 0xB0
        assert max(turned.message[1:]) < 128


def test_moves_that_nobody_takes_are_not_hoarded() -> None:
    knobs = KnobReports()
    for number in range(1, 1000):
        knobs.hear(1, number, move(7, number % 128), 0.0)
    assert len(knobs.take()) == MOST_WAITING
