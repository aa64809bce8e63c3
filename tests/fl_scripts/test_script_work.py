"""What one callback of the script may do at most, in messages, notes and lines of Python: not a matter of how
fast a machine is, and so of no clock. docs/fl-link.md states the same numbers."""

from __future__ import annotations

import random
from typing import Unpack

import pytest
from fakes.fl_costs import Work
from fakes.fl_host import FlHost, HostOptions
from fakes.fl_pair import Pair

from plugin_bridge.ports.fl_protocol import (
    DAEMON,
    LONGEST_PAYLOAD,
    Frame,
    pack_frame,
    write_message,
)

RELEASES = 64
LINES = 5000
FRAMES = {"win32": 1, "darwin": 8}
CONTROL_CHANGES = 73


def counting(**options: Unpack[HostOptions]) -> Pair:
    """A pair whose script's work is counted from now on."""
    pair = Pair(**options).start()
    pair.host.costs.counts = True
    return pair


def most(host: FlHost) -> Work:
    """The most of each that any one call did, but for the script's last one."""
    calls = [work for name, work in host.costs.each if name != "OnDeInit"]
    return Work(
        *(max(getattr(call, what) for call in calls) for what in ("sent", "released", "received", "lines"))
    )


def strike(pair: Pair, notes: int) -> None:
    """The partner holds so many notes: FL's user selects another channel with each hundred."""
    for each in range(notes):
        pair.host.selected = each // 100
        pair.host.deliver(bytes((0x90, each % 100, 80)))


@pytest.fixture
def full() -> Pair:
    """500 notes are down."""
    pair = counting()
    pair.host.channels = [type(pair.host.channels[0])(f"channel {n}") for n in range(6)]
    strike(pair, 500)
    assert len(pair.host.sounding()) == 500
    return pair


def test_500_notes_of_a_program_that_dies_are_off_within_a_second_and_64_at_a_time(full: Pair) -> None:
    full.alive = False
    full.run(1.0)
    assert full.host.sounding() == []
    assert most(full.host).released == RELEASES
    assert most(full.host).lines < LINES
    full.host.finish()


@pytest.mark.parametrize("ends", ["stop", "panic", "project", "goodbye", "another program"])
def test_whatever_releases_them_does_so_64_at_a_time(full: Pair, ends: str) -> None:
    host = full.host
    match ends:
        case "stop":
            host.play()
            full.run(0.1)
            host.stop()
        case "panic":
            full.link.panic()
        case "project":
            host._call("OnProjectLoad", 0)
        case "goodbye":
            for message in full.link.close():
                full.say(message)
        case "another program":
            full.alive = False
            full.run(0.02)
            host.idle_stopped = True
            full.run(1.0)
            host.idle_stopped = False
            host.deliver(pack_frame(Frame(DAEMON, 4321, 0)))
    full.run(0.25)
    assert host.sounding() == []
    assert most(host).released == RELEASES
    host.finish()


def test_the_scripts_last_call_releases_all_of_them_at_once(full: Pair) -> None:
    full.host.reload()
    assert full.host.sounding() == []
    full.host.finish()


def test_a_note_that_is_struck_again_while_others_wait_to_be_released_goes_on(full: Pair) -> None:
    full.link.panic()
    while len(full.host.sounding()) == 500:
        full.run(0.005)
    full.host.selected = 4
    full.host.deliver(b"\x90\x63\x50")  # the last one, which is still owed
    full.run(0.3)
    assert full.host.sounding() == [("channel 4", 99)]
    full.host.deliver(b"\x80\x63\x40")
    full.host.finish()


@pytest.mark.parametrize("platform", ["win32", "darwin"])
def test_what_a_tick_sends_is_bounded_at_the_start_of_a_session_too(platform: str) -> None:
    pair = counting(platform=platform)
    host = pair.host
    host.channels[host.selected].name = "a very long name " * 400
    for number in range(20):
        host.turn(20 + number, 100)
    host.play()
    pair.run(0.5)
    host.reload()
    pair.run(2.0)
    assert pair.link.linked
    assert most(host).sent <= FRAMES[platform]
    assert most(host).lines < LINES
    host.finish()


def test_as_control_changes_one_frame_goes_in_a_tick_however_many_came_through_as_sysex() -> None:
    pair = counting(platform="darwin", sysex_out=False)
    pair.host.play()
    pair.run(8.0)
    assert pair.link.linked
    assert 16 < most(pair.host).sent <= CONTROL_CHANGES
    pair.host.finish()


@pytest.mark.parametrize("heard", [False, True], ids=["no program yet", "a program that has ended"])
def test_a_script_that_hears_nobody_sends_nothing_but_signs_of_life(heard: bool) -> None:
    pair = Pair()
    pair.host.start()
    pair.alive = heard
    pair.run(1.0)
    assert pair.link.linked is heard
    for message in pair.link.close() if heard else ():
        pair.say(message)
    pair.alive = False
    pair.host.play()
    pair.run(1.0)
    pair.host.costs.counts = True
    before = len(pair.host.arrived)
    pair.run(12.0)
    messages = [message for _, message in pair.host.arrived[before:]]
    assert {len(message) for message in messages} == {3, 16}
    assert most(pair.host).sent == 15
    assert len(messages) / 12 < 6 * 15


def test_the_longest_frames_of_what_is_worst_to_read_are_read_within_the_budget() -> None:
    pair, chance = counting(), random.Random(3)
    peer, own = pair.link._endpoint.own, pair.link._endpoint.peer
    nothing = b"\x63\x00\x00"  # a message that the script does not know, and as short as can be
    payloads = [
        chance.randbytes(LONGEST_PAYLOAD),
        nothing * (LONGEST_PAYLOAD // 3),
        write_message("panic") * (LONGEST_PAYLOAD // 3),
        write_message("ping", number=7) * (LONGEST_PAYLOAD // 5),
        write_message("hint", text="x" * 800),
    ]
    for payload in payloads:
        pair.host.deliver(pack_frame(Frame(DAEMON, peer, own, payload)))
        pair.run(0.02)
    number = pair.link._endpoint._next
    for index in range(18):  # the most that is put together, of the smallest messages
        payload = write_message("panic") * (LONGEST_PAYLOAD // 3)
        frame = Frame(DAEMON, peer, own, payload, True, index < 17, (number + index) % 128)
        pair.host.deliver(pack_frame(frame))
    assert most(pair.host).received == 1010
    assert most(pair.host).lines < LINES


def test_a_keyboard_whose_keys_never_come_up_forwards_64_notes_and_lets_the_oldest_go() -> None:
    sent: list[bytes] = []
    keys = FlHost(sent.append)
    keys.start()
    keys.advance(1.5)
    keys.costs.counts = True
    for channel in range(4):
        for note in range(100):
            keys.deliver(bytes((0x90 | channel, note, 80)))
    notes = [message for message in sent if message[0] & 0xE0 == 0x80]
    down: set[tuple[int, int]] = set()
    for status, note, _ in notes:
        (down.add if status & 0xF0 == 0x90 else down.discard)((status & 15, note))
    assert len(down) == 64
    keys.deliver(pack_frame(Frame(DAEMON, 5, 0)))  # the program plays into this input after all
    assert most(keys).sent <= 64
