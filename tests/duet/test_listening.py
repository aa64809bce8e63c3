"""The chords that are heard become the partner's chart."""

from __future__ import annotations

import time

from fakes.loopback_host import QUICK, Host

from plugin_bridge.duet.listening import KEPT, ChordListener
from plugin_bridge.duet.session import DuetSession
from plugin_bridge.engine.engine import Engine
from plugin_bridge.music.chords import parse_chord
from plugin_bridge.music.events import NoteOff, NoteOn
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
    assert len(listener.spans) >= 3 * KEPT - 2


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
