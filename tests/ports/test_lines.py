"""The open ports of a patchbay: what passes through them, and what sounds on each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fakes.port_system import FakePort, FakeSystem

from plugin_bridge.ports.clock import now
from plugin_bridge.ports.connections import Direction, PortKey
from plugin_bridge.ports.lines import SWEEPS, Line, Lines
from plugin_bridge.ports.rtmidi_objects import Virtual

ON, OFF, OTHER_OFF, PEDAL = b"\x90\x3c\x40", b"\x80\x3c\x40", b"\x80\x3d\x40", b"\xb0\x40\x7f"
SYSEX = b"\xf0\x7d\x01\xf7"


@pytest.fixture
def broke() -> list[str]:
    return []


@pytest.fixture
def lines(broke: list[str]) -> Iterator[Lines]:
    yield Lines(now, lambda: broke.append("broke"))


def line(direction: Direction, name: str, *, own: bool = False) -> tuple[Line, FakePort]:
    key = Virtual(name) if own else PortKey(name)
    port = FakePort(FakeSystem(), direction, key)
    port.system.log[direction, name] = []
    port.system.find()
    return Line(direction, key, port, own), port


def test_an_output_that_comes_is_swept_several_times_and_no_more(lines: Lines) -> None:
    synth, port = line("output", "Synth:1")
    lines.add(synth)
    for _ in range(5):
        lines.sweep()
    assert port.sent.count(OFF) == SWEEPS


def test_a_sweep_spares_what_sounds_by_this_life(lines: Lines) -> None:
    synth, port = line("output", "Synth:1")
    lines.add(synth)
    port.sent.clear()
    lines.send(ON)
    lines.sweep()
    assert OFF not in port.sent
    assert OTHER_OFF in port.sent


def test_what_lost_inputs_held_ends_in_the_next_batch_and_what_outputs_held_at_once(lines: Lines) -> None:
    keys, played = line("input", "Keys:1")
    synth, got = line("output", "Synth:1")
    lines.add(keys)
    lines.add(synth)
    played.inbox.extend((ON, PEDAL))
    assert [message for message, _ in lines.fetch() + lines.fetch()] == [ON, PEDAL]
    lines.send(ON)
    lines.take_out(lines.all())
    assert [message for message, _ in lines.fetch()] == [b"\xb0\x40\x00", b"\x80\x3c\x00"]
    assert b"\x80\x3c\x00" in got.sent
    assert (lines.all(), len(synth.held), lines.fetch()) == ((), 0, [])


def test_what_an_output_held_ends_once_more_each_time_that_the_port_had_its_turn(lines: Lines) -> None:
    """A JACK server that overruns loses all of a cycle."""
    synth, port = line("output", "Synth:1")
    lines.add(synth)
    lines.send(ON)
    port.sent.clear()
    said: list[int] = []

    def turns() -> int:
        said.append(sum(message[:2] == OFF[:2] for message in port.sent))
        return len(said) // 3  # it takes a few looks

    port.turns = turns  # type: ignore[method-assign]
    lines.take_out([synth])
    assert [said.count(times) >= 3 for times in range(1, 4)] == [True] * 3


def test_when_the_sender_has_gone_what_sounds_ends_and_all_is_swept_again(lines: Lines) -> None:
    synth, port = line("output", "Synth:1")
    lines.add(synth)
    for _ in range(SWEEPS):
        lines.sweep()
    lines.send(ON)
    port.sent.clear()
    lines.let_go()
    assert [message[:2] for message in port.sent] == [OFF[:2]]
    assert len(synth.held) == 0
    for _ in range(SWEEPS + 2):
        lines.sweep()
    assert port.sent.count(OTHER_OFF) == SWEEPS


def test_sysex_goes_to_ports_of_our_name_only(lines: Lines) -> None:
    ours, virtual = line("output", "Plugin Bridge Out", own=True)
    synth, other = line("output", "Synth:1")
    lines.add(ours)
    lines.add(synth)
    lines.send(SYSEX)
    assert SYSEX in virtual.sent
    assert SYSEX not in other.sent


def test_a_port_that_fails_is_told_once_and_passes_nothing_more(lines: Lines, broke: list[str]) -> None:
    synth, port = line("output", "Synth:1")
    lines.add(synth)
    port.sent.clear()
    port.refuses = True
    lines.send(ON)
    port.refuses = False
    lines.send(ON)
    assert (synth.broken, broke, port.sent) == (True, ["broke"], [])
