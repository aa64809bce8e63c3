"""Ports that come and go behind one pair that stays."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator

import pytest
from fakes.port_system import FakeSystem
from fakes.waiting import wait_for

from plugin_bridge.ports.connections import Connections, PortKey
from plugin_bridge.ports.held import Held
from plugin_bridge.ports.patchbay import Patchbay

ON, OFF, PEDAL = b"\x90\x3c\x40", b"\x80\x3c\x40", b"\xb0\x40\x7f"
IN, OUT = "Plugin Bridge In", "Plugin Bridge Out"


@pytest.fixture
def system() -> Iterator[FakeSystem]:
    found = FakeSystem(["Keys:1"], ["Synth:1"])
    yield found
    assert found.misuse == []
    assert found.open_ports == []


@pytest.fixture
def patchbay(system: FakeSystem) -> Iterator[Patchbay]:
    with Patchbay(system, IN, OUT, Connections(("Keys*",), ("Synth*",))) as opened:
        assert wait_for(lambda: len(system.open_ports) == 4)
        yield opened


def connected(patchbay: Patchbay) -> set[str]:
    return {port.name for port in patchbay.view().ports if port.connected}


def sounding(messages: list[bytes]) -> bool:
    held = Held()
    for message in messages:
        held.follow(message)
    return bool(held)


def test_what_patterns_mean_is_connected_and_nothing_else(system: FakeSystem, patchbay: Patchbay) -> None:
    system.inputs.append("Drums:1")
    time.sleep(0.5)
    assert connected(patchbay) == {IN, OUT, "Keys:1", "Synth:1"}
    patchbay.follow(Connections(("Drums*",), ()))
    assert wait_for(lambda: connected(patchbay) == {IN, OUT, "Drums:1"})


def test_a_keyboard_that_is_pulled_out_lets_go_of_its_keys(system: FakeSystem, patchbay: Patchbay) -> None:
    heard: list[bytes] = []
    patchbay.listen(lambda message, _: heard.append(message))
    keys = system.port("Keys:1")
    assert keys is not None
    keys.inbox.extend((PEDAL, ON, b"\x91\x40\x50"))
    assert wait_for(lambda: len(heard) == 3)
    system.inputs.clear()
    assert wait_for(lambda: len(heard) == 6)
    assert not sounding(heard)
    assert ("input", "Keys*") in patchbay.view().waiting
    assert connected(patchbay) == {IN, OUT, "Synth:1"}  # nothing else stopped
    system.inputs.append("Keys:1")
    assert wait_for(lambda: "Keys:1" in connected(patchbay), 2.0)


def test_a_synth_that_comes_back_is_swept_and_does_not_hang(system: FakeSystem, patchbay: Patchbay) -> None:
    patchbay.send(ON)
    assert sounding(system.log["output", "Synth:1"])
    system.outputs.clear()
    assert wait_for(lambda: "Synth:1" not in connected(patchbay))
    patchbay.send(OFF)  # does not reach it
    system.outputs.append("Synth:1")
    assert wait_for(lambda: "Synth:1" in connected(patchbay), 2.0)
    assert not sounding(system.log["output", "Synth:1"])
    assert system.log["output", "Synth:1"][-1] != ON


def test_when_the_system_ends_it_says_so_once_and_touches_no_port_any_more() -> None:
    system = FakeSystem(["Keys:1"], ["Synth:1"])
    ended: list[str] = []
    before = threading.active_count()
    patterns = Connections(("Keys*",), ("Synth*",))
    with Patchbay(system, IN, OUT, patterns, ended=lambda: ended.append("ended")) as patchbay:
        assert wait_for(lambda: len(system.open_ports) == 4)
        system.stop()
        for _ in range(200):
            patchbay.send(ON)  # neither raises nor blocks
        assert wait_for(lambda: ended)
        system.restart()  # it is another one, and another patchbay's
        time.sleep(0.5)
    assert (ended, system.sent_when_gone, len(system.open_ports)) == (["ended"], 0, 4)
    assert threading.active_count() == before


def test_each_change_of_the_view_is_told_after_it_is_there() -> None:
    system = FakeSystem([], ["Synth:1"])
    seen: list[int] = []
    patchbay = Patchbay(system, IN, OUT, changed=lambda: seen.append(len(connected(patchbay))))
    with patchbay:
        assert wait_for(lambda: seen == [2])
        patchbay.follow(Connections((), ("Synth*",)))
        assert wait_for(lambda: seen == [2, 3])


def test_what_is_played_to_a_synth_that_has_just_come_is_not_swept_away(
    system: FakeSystem, patchbay: Patchbay
) -> None:
    log = system.log["output", "Synth:1"]
    patchbay.send(ON)
    assert wait_for(lambda: log.count(b"\x80\x3d\x40") == 3)  # what an earlier life left goes, thrice
    assert log[log.index(ON) :].count(OFF) == 0
    assert sounding(log)


def test_sysex_goes_to_our_own_port_only(system: FakeSystem, patchbay: Patchbay) -> None:
    patchbay.send(b"\xf0\x7d\x01\xf7")
    assert b"\xf0\x7d\x01\xf7" in system.log["output", OUT]
    assert b"\xf0\x7d\x01\xf7" not in system.log["output", "Synth:1"]


def test_an_output_that_refuses_is_opened_anew_and_the_others_go_on(
    system: FakeSystem, patchbay: Patchbay
) -> None:
    first = system.port("Synth:1")
    assert first is not None
    first.refuses = True
    patchbay.send(ON)
    assert ON in system.log["output", OUT]
    assert wait_for(lambda: system.port("Synth:1") not in (None, first))


def test_an_input_that_fails_is_opened_anew_and_lets_go_of_its_keys(
    system: FakeSystem, patchbay: Patchbay
) -> None:
    heard: list[bytes] = []
    patchbay.listen(lambda message, _: heard.append(message))
    first = system.port("Keys:1")
    assert first is not None
    first.inbox.append(ON)
    first.refuses = True
    assert wait_for(lambda: system.port("Keys:1") not in (None, first))
    assert wait_for(lambda: len(heard) == 2)
    assert not sounding(heard)


def test_a_keyboard_that_jack_has_forgotten_is_opened_anew_and_lets_go_of_its_keys(
    system: FakeSystem, patchbay: Patchbay
) -> None:
    heard: list[bytes] = []
    patchbay.listen(lambda message, _: heard.append(message))
    ports = {name: system.port(name) for name in ("Keys:1", "Synth:1", IN, OUT)}
    first = ports["Keys:1"]
    assert first is not None
    first.inbox.append(ON)
    first.forgotten = True
    assert wait_for(lambda: system.port("Keys:1") not in (None, first))
    assert wait_for(lambda: len(heard) == 2)
    assert not sounding(heard)
    assert all(system.port(name) is ports[name] for name in ("Synth:1", IN, OUT))


def test_where_no_ports_can_be_made_those_of_a_driver_with_our_names_are_used() -> None:
    system = FakeSystem([IN, OUT], [IN, OUT])  # as loopMIDI shows them, each on both sides
    system.has_virtual = False
    with Patchbay(system, IN, OUT) as patchbay:
        assert wait_for(lambda: len(system.open_ports) == 2)
        found = {(port.direction, port.name) for port in patchbay.view().ports if port.connected}
        assert found == {("input", IN), ("output", OUT)}
        patchbay.send(b"\xf0\x7d\x01\xf7")  # FL Studio listens there
        assert b"\xf0\x7d\x01\xf7" in system.log["output", OUT]


def test_a_port_of_another_program_takes_the_place_of_our_own(system: FakeSystem) -> None:
    sysex = b"\xf0\x7d\x01\xf7"
    system.outputs.append("Drums:1")
    with Patchbay(system, IN, "Synth:1", made=("input",)) as patchbay:
        assert wait_for(lambda: connected(patchbay) == {IN, "Synth:1"})
        own = {port.name: port.own for port in patchbay.view().ports if port.connected}
        assert own == {IN: True, "Synth:1": False}
        patchbay.send(sysex)  # FL Studio may listen there
        assert sysex in system.log["output", "Synth:1"]
        system.outputs.remove("Synth:1")
        assert wait_for(lambda: connected(patchbay) == {IN})
        system.outputs.append("Synth:1")
        assert wait_for(lambda: connected(patchbay) == {IN, "Synth:1"}, 2.0)
    assert ("output", "Drums:1") not in system.log


@pytest.mark.parametrize(("which", "there"), [(0, 2), (1, 2), (1, 1)])
def test_one_of_two_ports_of_a_name(which: int, there: int) -> None:
    system = FakeSystem(["Keys:1"] * there, [])
    with Patchbay(system, "Keys:1", OUT, made=("output",), which=(which, 0)) as patchbay:
        assert wait_for(lambda: connected(patchbay) == {"Keys:1", OUT})
        time.sleep(0.5)
        keys = [port.key for port in system.open_ports if port.direction == "input"]
        assert keys == [PortKey("Keys:1", min(which, there - 1))]


def test_a_callback_that_fails_is_counted_and_the_next_message_comes(
    system: FakeSystem, patchbay: Patchbay
) -> None:
    def broken(message: bytes, _: float) -> None:
        raise ValueError("no")

    patchbay.listen(broken)
    keys = system.port("Keys:1")
    assert keys is not None
    keys.inbox.extend((ON, OFF))
    assert wait_for(lambda: patchbay.stats().failed_callbacks == 2)


def test_without_a_midi_system_it_waits_for_one() -> None:
    system = FakeSystem(up=False)
    with Patchbay(system, IN, OUT) as patchbay:
        assert wait_for(lambda: patchbay.view().problems)
        patchbay.send(ON)
        system.restart()
        assert wait_for(lambda: connected(patchbay) == {IN, OUT}, 2.0)
    assert system.misuse == []


def test_two_hundred_losses_and_returns_in_random_order(system: FakeSystem, patchbay: Patchbay) -> None:
    chance = random.Random(6)
    heard: list[bytes] = []
    patchbay.listen(lambda message, _: heard.append(message))
    threads = threading.active_count()
    playing = threading.Event()

    def play() -> None:
        pitch = 0
        while not playing.is_set():
            pitch = (pitch + 1) % 128
            patchbay.send(bytes((0x90, pitch, 64)))
            if (keys := system.port("Keys:1")) is not None:
                keys.inbox.append(bytes((0x90, pitch, 64)))
            playing.wait(0.001)
            patchbay.send(bytes((0x80, pitch, 64)))

    player = threading.Thread(target=play)
    player.start()
    try:
        for _ in range(200):
            names = chance.choice((system.inputs, system.outputs))
            kept = names[:]
            names.clear()
            patchbay._look.set()
            time.sleep(chance.random() * 0.01)
            names.extend(kept)
            patchbay._look.set()
            assert wait_for(lambda: len(system.open_ports) == 4, 2.0)
    finally:
        playing.set()
        player.join()
    system.inputs.clear()
    assert wait_for(lambda: not sounding(heard))
    assert not sounding(system.log["output", "Synth:1"])
    assert threading.active_count() == threads


def test_close_ends_what_sounds_and_both_threads() -> None:
    system = FakeSystem([], ["Synth:1"])
    before = threading.active_count()
    patchbay = Patchbay(system, IN, OUT, Connections((), ("Synth:1",)))
    patchbay.start()
    assert wait_for(lambda: len(system.open_ports) == 3)
    patchbay.send(ON)
    patchbay.close()
    patchbay.close()
    assert not sounding(system.log["output", "Synth:1"])
    assert (system.open_ports, system.misuse) == ([], [])
    assert threading.active_count() == before
