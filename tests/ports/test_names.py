"""Port names: a user's words mean one port, or the answer lists what there is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugin_bridge.errors import BridgeError
from plugin_bridge.ports.names import choose_port, short_name

NAMES = (
    "Midi Through:Midi Through Port-0 14:0",
    "Digital Piano:Digital Piano MIDI 1 20:0",
    "Digital Piano:Digital Piano MIDI 2 20:1",
    "loopMIDI Port",
    "Plugin Bridge In:Plugin Bridge In",
    "Other:2",
)


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        ("loopMIDI Port", 3),
        ("LOOPMIDI", 3),
        ("Digital Piano MIDI 2", 2),
        ("piano midi 1", 1),
        ("Plugin Bridge In", 4),
        ("2", 5),  # a port of that name goes before the number
        ("0", 0),
        (1, 1),
    ],
)
def test_words_that_mean_one_port(wanted: str | int, index: int) -> None:
    assert choose_port(wanted, NAMES, "input") == index


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ("Organ", "no MIDI input named 'Organ'.*0 'Midi Through.*5 'Other:2'"),
        ("Digital Piano", "several ports.*1 'Digital.*2 'Digital"),
        ("", "no MIDI input named ''"),
        (6, "number 6"),
        (-1, "number -1"),
        ("77", "number 77"),
    ],
)
def test_words_that_mean_none_or_several_are_refused_with_a_list(wanted: str | int, says: str) -> None:
    with pytest.raises(BridgeError, match=says):
        choose_port(wanted, NAMES, "input")


def test_two_ports_of_one_full_name_are_told_apart_by_number_only() -> None:
    with pytest.raises(BridgeError, match="give the number"):
        choose_port("USB MIDI", ("USB MIDI", "USB MIDI"), "output")


def test_a_machine_without_ports_says_so() -> None:
    with pytest.raises(BridgeError, match="there are no MIDI outputs"):
        choose_port("Piano", (), "output")


@pytest.mark.parametrize(
    ("name", "short"),
    [("A:B 128:0", "B"), ("A:B", "B"), ("B", "B"), ("A:B:C", "B:C"), ("Port 12", "Port 12"), ("A:", "A:")],
)
def test_short_names(name: str, short: str) -> None:
    assert short_name(name) == short


@given(st.lists(st.text(min_size=1), min_size=1, unique=True), st.data())
def test_a_full_name_always_means_its_own_port(names: list[str], data: st.DataObject) -> None:
    wanted = data.draw(st.sampled_from(names))
    assert choose_port(wanted, names, "input") == names.index(wanted)
