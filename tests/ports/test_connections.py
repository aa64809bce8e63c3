"""Which ports saved patterns mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugin_bridge.errors import BridgeError
from plugin_bridge.ports.connections import (
    MOST_PATTERNS,
    Connections,
    PortKey,
    keys_of,
    matches,
    pattern_of,
    wanted,
)

OURS = ("Plugin Bridge", "Plugin Bridge In", "Plugin Bridge Out")


@pytest.mark.parametrize(
    ("pattern", "name", "means"),
    [
        ("Keystation*", "Keystation 49:MIDI 1 24:0", True),
        ("keystation 49:midi 1", "Keystation 49:MIDI 1 32:0", True),  # its address has changed
        ("MIDI 1", "Keystation 49:MIDI 1 24:0", True),
        ("MIDI", "Keystation 49:MIDI 1 24:0", False),
        ("Key?tation*", "Keystation 49:MIDI 1", True),
        ("Grand", "Keystation 49:MIDI 1", False),
    ],
)
def test_a_pattern_means_a_name(pattern: str, name: str, means: bool) -> None:
    assert matches(pattern, name) is means


@given(st.text(min_size=1, max_size=40), st.text(min_size=1, max_size=40))
def test_the_pattern_of_a_port_means_it_and_no_other(name: str, other: str) -> None:
    pattern = pattern_of(name)
    assert matches(pattern, name)
    if other.casefold() not in (name.casefold(), pattern.casefold()) and ":" not in other:
        bare = {name.casefold(), name.partition(":")[2].casefold()}
        assert not matches(pattern, other) or other.casefold() in bare or " " in other


def test_two_keyboards_of_one_name_are_two() -> None:
    assert keys_of(["Keys", "Drums", "Keys"]) == (PortKey("Keys"), PortKey("Drums"), PortKey("Keys", 1))
    assert wanted(("Keys",), ["Keys", "Drums", "Keys"], ()) == {PortKey("Keys"), PortKey("Keys", 1)}


@pytest.mark.parametrize(
    "ours", ["Plugin Bridge Out:Plugin Bridge Out", "Plugin Bridge-01:Plugin Bridge", "Plugin Bridge Out"]
)
def test_the_partner_is_never_connected_to_itself(ours: str) -> None:
    assert wanted(("*",), [ours, "Keys:1"], OURS) == {PortKey("Keys:1")}


def test_nothing_is_connected_that_no_pattern_means() -> None:
    assert wanted((), ["Keys:1", "Synth:1"], OURS) == frozenset()


def test_patterns_are_added_once_and_taken_out_by_name() -> None:
    both = Connections().adding("input", "Keys*").adding("input", "Keys*").adding("output", "Synth")
    assert both == Connections(("Keys*",), ("Synth",))
    assert both.without("input", "Keys*") == Connections((), ("Synth",))
    with pytest.raises(BridgeError, match="no connection 'Organ'; there are: 'Synth'"):
        both.without("output", "Organ")


@pytest.mark.parametrize("pattern", ["", "  ", "x" * 201, "a\nb", "\x1b[31m"])
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(BridgeError, match="not the name of a port"):
        Connections().adding("input", pattern)


def test_there_is_a_most_of_them() -> None:
    many = Connections(tuple(f"keys {index}" for index in range(MOST_PATTERNS)))
    with pytest.raises(BridgeError, match="disconnect one first"):
        many.adding("input", "one more")
