"""The control table: one row a control, and every value checked."""

from __future__ import annotations

from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from plugin_bridge.duet.controls import BY_CONTROLLER, TABLE, Controls, Kind, control, markdown, settings_of
from plugin_bridge.duet.mixing import Mixing
from plugin_bridge.duet.phrases import Mode
from plugin_bridge.errors import BridgeError

ROWS = {row.name: row for row in TABLE}


def test_every_control_has_its_own_controller_that_midi_leaves_undefined() -> None:
    assert len(BY_CONTROLLER) == len(TABLE)
    assert set(BY_CONTROLLER) <= {*range(20, 32), *range(102, 120)}


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_a_controller_covers_the_range_and_no_more(row) -> None:
    assert row.at(0) == row.low
    assert row.at(127) == row.high
    assert [row.at(value) for value in range(128)] == sorted(row.at(value) for value in range(128))
    for value in range(128):
        Controls().with_value(row.name, row.at(value))


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_the_default_is_shown_and_read_back(row) -> None:
    assert row.parse(row.show(row.default)) == row.default
    if row.kind is not Kind.TRIGGER:
        assert Controls().value(row.name) == row.default


def test_setting_a_control_changes_it_alone() -> None:
    before = Controls()
    after = before.with_value("temperature", 0.5).with_value("mode", 3).with_value("mixing", 2)
    assert (after.temperature, after.mode, after.mixing) == (0.5, Mode.COMP, Mixing.HARMONIC)
    assert before == Controls()
    assert after.density == before.density


def test_the_ends_of_the_register_never_cross() -> None:
    high = Controls().with_value("register_low", 110)
    assert (high.register_low, high.register_high) == (110, 110)
    low = Controls().with_value("register_high", 10)
    assert (low.register_low, low.register_high) == (10, 10)


def test_a_trigger_has_no_state() -> None:
    assert Controls().with_value("panic", 1.0) == Controls()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("temperature=99", "temperature 99 must be 0 to 2"),
        ("temperature=nan", "temperature nan must be"),
        ("temperature=warm", "temperature 'warm' must be 0 to 2"),
        ("forks=1.5", "forks 1.5 must be a whole number, 1 to 6"),
        ("mode=sing", "mode 'sing' must be answer, continuous, chunk, comp or solo"),
        ("mute=perhaps", "mute 'perhaps' must be on or off"),
        ("tempo=100", "there is no control 'tempo'; there are mode,"),
        ("temperature", "write NAME=VALUE"),
        ("panic=on", "panic is no setting"),
    ],
)
def test_impossible_settings_are_refused_in_one_line(text: str, said: str) -> None:
    with pytest.raises(BridgeError) as caught:
        settings_of([text])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_settings_as_they_are_written_on_the_command_line() -> None:
    found = settings_of(["temperature=0.9", "register-low=40", "mode=solo", "mute=on"])
    assert found == {"temperature": 0.9, "register_low": 40.0, "mode": 4.0, "mute": 1.0}


@given(st.text(max_size=40))
def test_any_text_is_a_setting_or_refused(text: str) -> None:
    try:
        found = settings_of([text])
    except BridgeError:
        return
    for name, value in found.items():
        assert control(name).check(value) == value


def test_the_documentation_has_the_table_as_it_is() -> None:
    text = (Path(__file__).parents[2] / "docs" / "controls.md").read_text(encoding="utf-8")
    assert markdown() in text, "run: plugin-bridge controls --markdown, and put it into docs/controls.md"
