"""Knobs are learned for controls, and what is turned comes through once, in order, within the range."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugin_bridge.ports.fl_controls import MOST_CHANGES, Binding, ControlChange, LearnedControls

CONTROLS = (("temperature", 0.5, 1.5), ("mute", 0.0, 1.0), ("density", 0.0, 100.0))


def move(number: int, value: int, channel: int = 0) -> bytes:
    return bytes((channel, number, value))


def learned(**knobs: int) -> LearnedControls:
    return LearnedControls(CONTROLS, [Binding(name, 0, number) for name, number in knobs.items()])


def test_the_next_knob_that_moves_is_learned_and_does_nothing_yet() -> None:
    controls = LearnedControls(CONTROLS)
    controls.learn("temperature")
    controls.moved(1, 1, move(21, 64, channel=3), 5.0)
    assert controls.learning is None
    assert controls.bindings == (Binding("temperature", 3, 21),)
    assert controls.take() == ()
    controls.moved(1, 2, move(21, 127, channel=3), 6.0)
    assert controls.take() == (ControlChange("temperature", 1.5, 6.0),)
    assert controls.take() == ()


def test_a_knob_gives_the_whole_range_of_its_control() -> None:
    controls = learned(density=7)
    for number, value in enumerate((0, 127), 1):
        controls.moved(1, number, move(7, value), 0.0)
    assert [change.value for change in controls.take()] == [0.0, 100.0]


def test_a_knob_that_nobody_learned_does_nothing() -> None:
    controls = learned(mute=7)
    controls.moved(1, 1, move(8, 127), 0.0)
    controls.moved(1, 2, move(7, 127, channel=1), 0.0)
    assert controls.take() == ()


def test_a_control_has_one_knob_and_a_knob_one_control() -> None:
    controls = learned(mute=7, density=8)
    controls.learn("mute")
    controls.moved(1, 1, move(8, 1), 0.0)
    assert controls.bindings == (Binding("mute", 0, 8),)


def test_what_was_learned_can_be_kept_and_forgotten() -> None:
    controls = learned(mute=7, density=8)
    assert LearnedControls(CONTROLS, controls.bindings).bindings == controls.bindings
    controls.forget("mute")
    assert controls.bindings == (Binding("density", 0, 8),)
    assert LearnedControls(CONTROLS[:1], controls.bindings).bindings == ()


def test_moves_that_are_repeated_count_once_and_lost_reports_are_made_up_for() -> None:
    controls = learned(mute=7)
    moves = [move(7, value) for value in (10, 20, 30, 40, 50)]
    controls.moved(1, 1, moves[0], 0.0)
    controls.moved(1, 4, b"".join(moves[:4]), 0.0)  # 2 and 3 were in reports that were lost
    controls.moved(1, 4, b"".join(moves[:4]), 0.0)
    controls.moved(1, 2, b"".join(moves[:2]), 0.0)  # late
    controls.moved(1, 5, b"".join(moves[1:]), 0.0)
    assert [round(change.value * 127) for change in controls.take()] == [10, 20, 30, 40, 50]


def test_two_controllers_count_apart() -> None:
    controls = learned(mute=7)
    controls.moved(1, 50, move(7, 1), 0.0)
    controls.moved(2, 1, move(7, 2), 0.0)
    controls.moved(1, 51, move(7, 3), 0.0)
    assert [round(change.value * 127) for change in controls.take()] == [1, 2, 3]


def test_a_press_and_a_release_are_both_told() -> None:
    controls = learned(mute=7)
    controls.moved(1, 2, move(7, 127) + move(7, 0), 0.0)
    assert [change.value for change in controls.take()] == [1.0, 0.0]


def test_an_unknown_control_cannot_be_learned() -> None:
    with pytest.raises(ValueError, match="no control 'volume'; there are temperature"):
        LearnedControls(CONTROLS).learn("volume")


@pytest.mark.parametrize("wrong", [(("a", 0, 1), ("a", 0, 2)), (("b", 1.0, 1.0),)])
def test_controls_that_make_no_sense_are_refused(wrong: tuple[tuple[str, float, float], ...]) -> None:
    with pytest.raises(ValueError, match="comes twice, or its range"):
        LearnedControls(wrong)


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 65535), st.binary(max_size=40)), max_size=60))
def test_whatever_is_reported_values_stay_in_range_and_memory_bounded(
    reports: list[tuple[int, int, bytes]],
) -> None:
    controls = learned(temperature=1, mute=2, density=3)
    for source, last, moves in reports:
        controls.moved(source, last, moves, 0.0)
    assert len(controls._last) <= 16
    ranges = {name: (least, most) for name, least, most in CONTROLS}
    for change in controls.take():
        assert ranges[change.control][0] <= change.value <= ranges[change.control][1]


def test_changes_that_nobody_takes_are_not_hoarded() -> None:
    controls = learned(mute=7)
    for number in range(1, 1000):
        controls.moved(1, number, move(7, number % 128), 0.0)
    assert len(controls.take()) == MOST_CHANGES
