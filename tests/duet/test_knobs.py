"""A knob is learned for a control, stays learned, and sets what it was learned for."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugin_bridge.duet.conductor import Message, Setting
from plugin_bridge.duet.controls import TABLE
from plugin_bridge.duet.knobs import NO_KNOBS, Knob, Knobs, read_knobs
from plugin_bridge.errors import BridgeError


def turned(number: int, value: int, channel: int = 1) -> Message:
    return Message(bytes((0xB0 | channel - 1, number, value)), 0.0)


def learned(**numbers: int) -> Knobs:
    knobs = Knobs()
    for name, number in numbers.items():
        knobs.learn(name)
        assert knobs.hear(turned(number, 1)) is None
    return knobs


def test_the_next_knob_that_moves_is_learned_and_does_nothing_yet() -> None:
    told: list[tuple[str, Knob]] = []
    knobs = Knobs(on_learned=lambda name, knob: told.append((name, knob)))
    knobs.learn("temperature")
    assert knobs.hear(turned(74, 127, channel=4)) is None
    assert knobs.learning is None
    assert told == [("temperature", Knob(4, 74))]
    assert knobs.hear(turned(74, 127, channel=4)) == Setting("temperature", 2.0)


@pytest.mark.parametrize(("value", "set_to"), [(0, 0.5), (127, 20.0)])
def test_a_knob_gives_the_whole_range_of_its_control(value: int, set_to: float) -> None:
    assert learned(density=7).hear(turned(7, value)) == Setting("density", set_to)


def test_a_button_is_on_while_it_is_pressed() -> None:
    knobs = learned(mute=7)
    assert [knobs.hear(turned(7, value)) for value in (127, 0)] == [
        Setting("mute", 1.0),
        Setting("mute", 0.0),
    ]


def test_what_nobody_learned_and_what_is_no_knob_goes_by() -> None:
    knobs = learned(mute=7)
    for message in (turned(8, 127), turned(7, 127, channel=2), Message(b"\x90\x07\x40", 0.0)):
        assert knobs.hear(message) is message
    setting = Setting("mute", 1.0)
    assert knobs.hear(setting) is setting


@pytest.mark.parametrize("number", sorted(NO_KNOBS))
def test_the_pedal_and_its_like_cannot_be_learned(number: int) -> None:
    knobs = Knobs()
    knobs.learn("mute")
    message = turned(number, 127)
    assert knobs.hear(message) is message
    assert knobs.learning == "mute"


def test_a_control_has_one_knob_and_a_knob_one_control() -> None:
    knobs = learned(mute=7, density=8)
    knobs.learn("mute")
    knobs.hear(turned(8, 1))
    assert knobs.knobs == {"mute": Knob(1, 8)}


def test_what_was_learned_is_there_at_the_next_start_until_it_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "new" / "knobs.json"
    knobs = Knobs(path)
    for name, number in (("mute", 7), ("density", 8)):
        knobs.learn(name)
        knobs.hear(turned(number, 1))
    knobs.settle()
    assert Knobs(path).knobs == {"mute": Knob(1, 7), "density": Knob(1, 8)}
    knobs.forget("mute")
    assert read_knobs(path) == {"density": Knob(1, 8)}
    with pytest.raises(BridgeError, match="no knob was learned for mute"):
        knobs.forget("mute")


def test_learning_can_be_given_up() -> None:
    knobs = Knobs()
    knobs.learn("mute")
    knobs.learn(None)
    message = turned(7, 1)
    assert knobs.hear(message) is message
    assert knobs.knobs == {}


def test_a_control_that_is_not_there_cannot_be_learned() -> None:
    with pytest.raises(BridgeError, match="there is no control 'volume'; there are mode"):
        Knobs().learn("volume")


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"volume": {"channel": 1, "number": 7}}', '{"mute": {"channel": 1}}', '{"mute": 3}',
     '{"mute": {"channel": 0, "number": 7}}', '{"mute": {"channel": 1, "number": 128}}'],
)  # fmt: skip
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "knobs.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BridgeError, match=r"knobs\.json: .*delete it and learn again"):
        Knobs(path)


@given(st.sampled_from(TABLE), st.integers(0, 127))
def test_whatever_a_knob_says_is_a_value_of_its_control(row, value: int) -> None:
    setting = learned(**{row.name: 7}).hear(turned(7, value))
    assert isinstance(setting, Setting)
    assert row.check(setting.value) == setting.value
