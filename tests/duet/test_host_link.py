"""FL Studio beside a session: its transport and its knobs reach the partner, and a take needs no FL."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from fakes.fl_pair import Pair
from fakes.loopback_host import QUICK
from hypothesis import given

from plugin_bridge.duet.conductor import Host, Item, Message, Setting
from plugin_bridge.duet.host_link import HostLink
from plugin_bridge.duet.listening import Surroundings
from plugin_bridge.duet.offline import START, replay, simulate
from plugin_bridge.engine.engine import Engine
from plugin_bridge.ports.fl_link import FlLink
from plugin_bridge.ports.host_clock import Timeline, timeline_from_bytes, timeline_to_bytes

TEMPOS = st.none() | st.floats(10, 500)


@given(st.booleans(), st.booleans(), TEMPOS, st.integers(0, 2**40), st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_a_timeline_is_kept_whole(playing, alive, tempo, generation, time, position) -> None:
    line = Timeline(playing, alive, tempo, generation, time, position, 7, 2)
    assert timeline_from_bytes(timeline_to_bytes(line)) == line


@given(st.binary(max_size=60))
def test_other_bytes_are_no_timeline(data: bytes) -> None:
    try:
        line = timeline_from_bytes(data)
    except ValueError:
        return
    assert line.beats_in_bar > 0


def linked() -> tuple[Pair, HostLink]:
    pair = Pair(FlLink(new_id=lambda: 77))
    pair.start()
    return pair, HostLink(pair.link)


def test_the_transport_becomes_items_and_only_when_it_changes() -> None:
    pair, link = linked()
    link.look(pair.time)
    pair.host.play()
    pair.run(0.5)
    (item,) = link.look(pair.time)
    assert isinstance(item, Host)
    assert item.timeline.playing
    pair.run(2.0)
    link.look(pair.time)  # known better by now
    pair.run(2.0)
    assert link.look(pair.time) == [], "it goes on as it said"


def test_what_is_no_message_of_the_links_is_left_alone() -> None:
    link = HostLink()
    assert link.hear(Message(b"\x90\x3c\x40", 1.0)) is None
    assert link.hear(Message(b"\xf0\x7e\x7f\x06\x01\xf7", 1.0)) is None


def test_a_take_with_a_host_in_it_plays_again_without_one(style) -> None:
    host = Timeline(True, True, 97.0, 1, START, 0.0)
    items: list[tuple[float, Item]] = [(0.1, Host(host, START + 0.1))]
    for index in range(40):
        pitch = 60 + index % 7
        at = 0.5 + index * 0.31
        items += [
            (at, Message(bytes((0x90, pitch, 80)), START + at)),
            (at + 0.2, Message(bytes((0x80, pitch, 0)), START + at + 0.2)),
        ]
    items += [(5.0, Setting("mode", 1.0)), (5.0, Setting("grid", 1.0))]
    jump = Timeline(True, True, 97.0, 2, START + 9.0, 30.3)
    items.append((9.0, Host(jump, START + 9.0)))
    items.sort(key=lambda item: item[0])
    duet = simulate(Engine(style), QUICK, items, 14.0)
    again = replay(Engine(style), QUICK, duet.tape)
    ours = [(each.due, each.event) for each in duet.recording.left() if each.due < duet.tape.reached]
    theirs = [(each.due, each.event) for each in again.recording.left() if each.due < duet.tape.reached]
    assert ours == theirs
    assert len(ours) > 10


@pytest.mark.parametrize("jump", [False, True], ids=["steady", "after a jump"])
def test_with_the_grid_at_one_every_onset_falls_on_the_hosts_sixteenths(style, jump: bool) -> None:
    first = Timeline(True, True, 97.0, 1, START, 0.0)
    second = Timeline(True, True, 140.0, 2, START + 12.0, 31.37)
    items: list[tuple[float, Item]] = [(0.0, Setting("mode", 1.0)), (0.0, Setting("grid", 1.0))]
    items.append((0.05, Host(first, START + 0.05)))
    if jump:
        items.append((12.0, Host(second, START + 12.0)))
    for index in range(70):
        at = 0.5 + index * 0.33
        items += [
            (at, Message(bytes((0x90, 60 + index % 12, 80)), START + at)),
            (at + 0.2, Message(bytes((0x80, 60 + index % 12, 0)), START + at + 0.2)),
        ]
    items.sort(key=lambda item: item[0])
    duet = simulate(Engine(style), QUICK, items, 24.0)
    onsets = [each.sent for each in duet.recording.left() if type(each.event).__name__ == "NoteOn"]
    assert len(onsets) > 10
    for time in onsets:
        line = second if jump and time > START + 12.005 else first
        position = line.position(time)
        away = abs(position * 4 - round(position * 4)) / 4 * 60 / line.tempo
        assert away < 0.010, f"{time - START:.3f} s is {away * 1e3:.1f} ms from the grid"


def test_after_each_wrap_of_the_loop_the_metrical_position_is_right() -> None:
    pair, link = linked()
    around = Surroundings(None, lambda seconds: 0, False)
    pair.host.tempo, pair.host.selection = 97.0, (0, 6 * 96)  # six quarters: a bar and a half
    pair.host.play()
    wraps, right, wrong, before = 0, 0, 0, 0.0
    settled = pair.time + 0.5
    for _ in range(4000):
        pair.run(0.005)
        position = pair.host.position()
        if position < before:
            wraps += 1
            settled = pair.time + 0.05
        before = position
        for item in link.look(pair.time):
            assert isinstance(item, Host)
            around.follow(item.timeline)
        sixteenth = position * 4
        if pair.time > settled and 0.15 < sixteenth % 1 < 0.85:  # well within one
            told = around.metre_at(pair.time)
            # the model is told the nearest sixteenth, counted from 1
            expected = {int(sixteenth) % 16 + 1, (int(sixteenth) + 1) % 16 + 1}
            right += told in expected
            wrong += told not in expected
    assert wraps >= 4
    assert wrong == 0
    assert right > 1500
