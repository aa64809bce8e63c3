"""The way to FL Studio and back, from pings that are held, lost, late, doubled or never sent."""

from __future__ import annotations

import random

import pytest
from fakes.fl_pair import Pair
from hypothesis import given
from hypothesis import strategies as st

from plugin_bridge.ports.fl_round_trip import LONGEST, PING_EVERY, RoundTrip


def test_before_any_ping_came_back_there_is_no_way() -> None:
    assert RoundTrip().seconds == 0.0


def test_what_the_script_held_is_not_the_way() -> None:
    trip = RoundTrip()
    number = trip.ping(5.0)
    trip.echo(number, 0.030, 5.034)
    assert trip.seconds == pytest.approx(0.004)


def test_the_usual_way_counts_and_not_the_one_that_was_held_up() -> None:
    trip, chance = RoundTrip(), random.Random(1)
    for index in range(60):
        time = index * PING_EVERY
        held = chance.uniform(0, 0.04)
        way = 0.004 + chance.uniform(-0.001, 0.001) + (0.05 if index % 5 == 0 else 0.0)
        trip.echo(trip.ping(time), held, time + held + way)
    assert trip.seconds == pytest.approx(0.004, abs=0.0008)


def test_pings_go_every_fifth_of_a_second_and_one_that_could_not_leave_leaves_later() -> None:
    trip = RoundTrip()
    assert trip.due(1.0)
    first = trip.ping(1.0)
    assert trip.ping(1.02, again=True) == first
    assert not trip.due(1.02 + PING_EVERY - 0.01)
    assert trip.due(1.02 + PING_EVERY + 0.01)
    trip.echo(first, 0.0, 1.025)
    assert trip.seconds == pytest.approx(0.005)


@given(
    st.lists(
        st.tuples(st.floats(0, 1), st.integers(0, 65535), st.floats(0, 5000), st.booleans()), max_size=60
    )
)
def test_whatever_is_echoed_the_way_stays_one_that_can_be(
    echoes: list[tuple[float, int, float, bool]],
) -> None:
    trip, time = RoundTrip(), 0.0
    for pause, number, held, ours in echoes:
        time += pause
        sent = trip.ping(time)
        trip.echo(sent if ours else number, held, time + pause)
        assert 0 <= trip.seconds <= LONGEST
        assert len(trip._sent) <= 8


@pytest.mark.parametrize("way", [0.0, 0.003, 0.02])
def test_through_fl_the_way_is_measured_and_a_note_that_leaves_by_the_timeline_is_there_on_the_beat(
    way: float,
) -> None:
    pair = Pair(delay=way).start()  # all of it on the way here: how it is divided does not matter
    pair.host.tempo = 97.0
    pair.host.play()
    pair.run(3.0)
    state = pair.link.at(pair.time)
    assert state.round_trip == pytest.approx(way, abs=0.001)
    leaves = state.timeline.time_of(8.0)
    assert leaves is not None
    pair.host.advance(leaves - pair.time)
    assert (pair.host.position() - 8.0) * 60 / 97 == pytest.approx(0.0, abs=0.003)


def test_a_new_session_measures_anew() -> None:
    pair = Pair(delay=0.02).start()
    pair.run(2.0)
    assert pair.link.at(pair.time).round_trip > 0.015
    pair.delay = 0.001
    pair.host.reload()
    pair.run(2.0)
    assert pair.link.at(pair.time).round_trip < 0.003


@pytest.mark.parametrize("sysex", [True, False], ids=["SysEx", "control changes"])
def test_the_way_is_measured_in_either_coding_while_a_knob_is_turned(sysex: bool) -> None:
    pair = Pair(delay=0.004, sysex_out=sysex).start()
    for value in range(60):
        if value < 40 or sysex:
            pair.host.turn(21, value)
        pair.run(0.1)
    assert pair.link.at(pair.time).round_trip == pytest.approx(0.004, abs=0.001)
