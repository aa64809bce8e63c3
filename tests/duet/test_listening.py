"""The chords that are heard become the partner's chart."""

from __future__ import annotations

import time
from dataclasses import replace

import hypothesis.strategies as st
import pytest
from fakes.loopback_host import QUICK, Host
from hypothesis import given

from plugin_bridge.duet.listening import GONE, KEPT, Change, ChordListener, Surroundings
from plugin_bridge.duet.session import DuetSession
from plugin_bridge.engine.engine import Engine
from plugin_bridge.music.chords import parse_chord, parse_progression
from plugin_bridge.music.events import NoteOff, NoteOn
from plugin_bridge.music.harmony import even_chart
from plugin_bridge.ports.host_clock import Timeline
from plugin_bridge.ports.loopback import loopback_pair

TRIADS = {"C": (48, 64, 67), "F": (53, 60, 69), "G": (55, 62, 71), "Am": (57, 60, 64)}


def strike(listener, name, at, length=0.9):
    charts = []
    for pitch in TRIADS[name]:
        listener.hear(NoteOn(at, pitch, 80))
    charts.append(listener.chart_at(at + 0.2))
    for pitch in TRIADS[name]:
        listener.hear(NoteOff(at + length, pitch))
    return charts[0]


def test_a_change_of_chord_is_a_new_chart_and_nothing_else_is():
    listener = ChordListener()
    assert listener.chart_at(0.5) is None
    chart = strike(listener, "C", 1.0)
    assert chart is not None
    assert chart.chord(1.3) == parse_chord("C")
    assert strike(listener, "C", 2.0) is None
    chart = strike(listener, "F", 3.0)
    assert [span.chord for span in chart.spans] == [parse_chord("C"), parse_chord("F")]
    assert chart.chord(1.5) == parse_chord("C")
    assert chart.chord(3.5) == parse_chord("F")


def test_a_long_session_keeps_a_short_chart():
    listener = ChordListener()
    chart = None
    for bar in range(3 * KEPT):
        chart = strike(listener, tuple(TRIADS)[bar % 4], 1.0 + bar) or chart
    assert len(chart.spans) == KEPT
    assert len(listener.heard) >= 3 * KEPT - 2


def test_in_a_session_the_partner_knows_the_chord_that_was_played(style):
    ours, theirs = loopback_pair()
    with ours, theirs, DuetSession(Engine(style), ours, QUICK) as session:
        host = Host(theirs)
        for pitch in TRIADS["F"]:
            host.end.send(bytes((0x90, pitch, 90)))
        time.sleep(1.0)
        host.play([65, 69, 72])
        for pitch in TRIADS["F"]:
            host.end.send(bytes((0x80, pitch, 0)))
        host.wait_for_notes(1)
        session.stop()
        assert host.hanging() == set()
    chords = [span.chord for span in session.clip().chords]
    assert parse_chord("F") in chords


def clocks(around, tempo, seconds, start=0.0):
    around.hear_message(b"\xfa", start)
    for index in range(int(seconds * tempo / 60 * 24)):
        around.hear_message(b"\xf8", start + index * 60 / tempo / 24)


def test_the_hosts_clock_gives_the_metre_while_it_runs():
    around = Surroundings(None, lambda seconds: 99, True)
    around.began = 100.0
    assert around.metre_at(1.0) == 99
    clocks(around, 120, 8.0, start=101.0)
    assert around.host_tempo == pytest.approx(120, abs=0.5)
    # two seconds to a bar from 101 on; position 1 is the downbeat
    assert around.metre_at(9.01) == 1
    assert around.metre_at(9.51) == 5
    around.hear_message(b"\xfc", 109.0)
    assert around.metre_at(9.51) == 99


def test_a_clock_that_just_stops_is_not_followed():
    around = Surroundings(None, lambda seconds: 0, False)
    clocks(around, 100, 4.0)
    assert around.metre_at(4.0) > 0
    assert around.change_at(9.0) is Change.JUMP
    assert around.metre_at(9.0) == 0


def test_music_is_no_message_of_the_host():
    around = Surroundings(None, lambda seconds: 0, False)
    for message in (b"\x90\x3c\x40", b"\xc0\x01", b"\xfe", b"\xf0\x7d\xf7", b""):
        assert not around.hear_message(message, 1.0)
    assert around.hear_message(b"\xf2\x00\x01", 1.0)


def test_a_session_beside_a_running_clock_plays_as_ever(style):
    ours, theirs = loopback_pair()
    with ours, theirs, DuetSession(Engine(style), ours, QUICK) as session:
        host = Host(theirs)
        host.end.send(b"\xfa")
        for index in range(150):
            host.end.send(b"\xf8")
            if index % 24 == 0 and index < 73:
                host.end.send(bytes((0x90, 60 + index // 12, 80)))
            if index % 24 == 12:
                host.end.send(bytes((0x80, 60 + index // 12 - 1, 0)))
            time.sleep(0.01)
        host.wait_for_notes(1)
        session.stop()
        assert host.hanging() == set()
        assert session.report().player_notes == 4


def test_a_given_chart_goes_by_the_hosts_bars():
    chart = even_chart(parse_progression("C F G Am"), 2.0, end=100.0)  # two seconds a bar: 120
    around = Surroundings(chart, lambda seconds: 0, True, tempo=120.0)
    assert around.chart_at(0.0) is None
    clocks(around, 60, 5.0)  # the host plays at half the tempo from 0 on: four seconds a bar
    laid = around.chart_at(5.0)
    assert laid is not None
    assert [round(span.start, 1) for span in laid.spans[:3]] == [0.0, 4.0, 8.0]
    assert str(laid.chord(5.0)) == "F"
    assert around.chart_at(5.1) is None, "nothing has changed"
    around.hear_message(b"\xfc", 5.2)
    assert around.chart_at(5.3) is chart, "a host that stands is not followed"


def test_a_given_chart_jumps_with_the_host():
    chart = even_chart(parse_progression("C F G Am"), 2.0, end=100.0)
    around = Surroundings(chart, lambda seconds: 0, True, tempo=120.0)
    clocks(around, 120, 5.0)
    first = around.chart_at(5.0)
    assert first is not None and str(first.chord(5.0)) == "G"
    around.hear_message(b"\xf2\x00\x00", 5.0)  # back to the start, and the clock goes on
    for index in range(3):
        around.hear_message(b"\xf8", 5.0 + (index + 1) * 60 / 120 / 24)
    assert around.change_at(5.07) is Change.JUMP
    second = around.chart_at(5.07)
    assert second is not None and str(second.chord(5.07)) == "C"


def test_a_change_of_tempo_is_a_drift_and_a_tremble_is_none():
    around = Surroundings(None, lambda seconds: 0, False)
    around.follow(line(tempo=120.0))
    assert around.change_at(1.0) is Change.JUMP
    assert around.change_at(1.1) is Change.NONE
    around.follow(line(tempo=120.1))  # a millisecond in a second: not worth it
    assert around.change_at(1.2) is Change.NONE
    around.follow(line(tempo=126.0))
    assert around.change_at(1.3) is Change.DRIFT
    around.follow(line(tempo=120.0))
    assert around.change_at(1.4) is Change.NONE, "not so soon again"
    assert around.change_at(1.7) is Change.DRIFT


def line(tempo, playing=True, alive=True, generation=1):
    return Timeline(playing, alive, tempo, generation, anchor_time=0.0)


def test_what_was_planned_stays_on_the_sixteenths_when_the_host_is_known_better_or_changes_its_tempo():
    around = Surroundings(None, lambda seconds: 0, False)
    before = line(tempo=120.0)
    around.follow(before)
    assert around.moved_since(1.0, 1.0) is None, "nothing was planned by anything else"
    for after in (replace(before, anchor_time=0.004), line(tempo=97.0)):
        around.follow(before)
        around.moved_since(1.0, 1.0)
        around.follow(after)
        moved = around.moved_since(1.0, 1.0)
        assert moved is not None
        for sixteenth in range(9, 30):
            was, should_be = before.time_of(sixteenth / 4), after.time_of(sixteenth / 4)
            if should_be > 1.01:
                assert moved(was) == pytest.approx(should_be)
        assert around.moved_since(1.0, 1.0) is None, "it has moved"


@given(st.floats(0, 3), st.floats(0, 3), st.floats(60, 200), st.floats(60, 200), st.floats(0.01, 1))
def test_what_moves_keeps_its_order_and_what_is_due_at_once_stays(one, other, before, after, amount):
    around = Surroundings(None, lambda seconds: 0, False)
    around.follow(line(before))
    around.moved_since(1.0, amount)
    around.follow(line(after))
    moved = around.moved_since(1.0, amount)
    first, second = sorted((one, other))
    if moved is not None:
        assert moved(first) <= moved(second) + 1e-9
        assert moved(1.002) == 1.002


def test_what_was_not_pulled_and_what_a_jump_overtakes_does_not_move():
    around = Surroundings(None, lambda seconds: 0, False)
    around.follow(line(120.0))
    around.moved_since(1.0, 0.0)
    around.follow(line(97.0))
    assert around.moved_since(1.0, 0.0) is None
    around.follow(line(120.0, generation=2))
    assert around.moved_since(1.0, 1.0) is None


def test_the_partner_waits_for_a_host_that_stopped_and_not_for_one_that_is_gone():
    around = Surroundings(None, lambda seconds: 0, False)
    around.follow(line(120.0, playing=False, generation=0))
    around.change_at(0.5)
    assert not around.host_stands(0.5), "it has never played"
    around.follow(line(120.0))
    around.change_at(1.0)
    around.follow(line(120.0, playing=False, generation=2))
    assert around.change_at(2.0) is Change.JUMP
    assert around.host_stands(2.0)
    assert around.host_stands(100.0), "as long as it is there"
    around.follow(line(None, playing=False, alive=False, generation=2))
    assert around.host_stands(2.0 + GONE - 1)
    assert not around.host_stands(2.0 + GONE)
    around.follow(line(120.0, generation=3))
    around.change_at(200.0)
    assert not around.host_stands(200.0)


def test_the_link_leads_and_midi_clock_is_not_listened_to():
    around = Surroundings(None, lambda seconds: 0, False)
    around.follow(line(97.0))
    clocks(around, 150, 3.0)
    assert around.host_tempo == 97.0
    around.follow(line(None, playing=False, alive=False, generation=2))
    around.hear_message(b"\xf8", 3.01)
    assert around.host_tempo == pytest.approx(150, abs=2)
