"""What the page is told of the duet, frame by frame."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plugin_bridge.daemon.bridge import TAPE_BYTES, Bridge
from plugin_bridge.daemon.config import parse_config
from plugin_bridge.daemon.feed import KEPT, Feed, Reader, beats, row_of
from plugin_bridge.duet.session import DuetSession
from plugin_bridge.duet.settings import SessionSettings
from plugin_bridge.engine.engine import Engine
from plugin_bridge.music.events import NoteOff, NoteOn, Part, Pedal
from plugin_bridge.music.midi_file import read_midi
from plugin_bridge.ports.clock import now
from plugin_bridge.ports.loopback import loopback_pair
from plugin_bridge.ports.wire import MidiPorts


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    """A duet with a chart of a chord a bar, two seconds each."""
    config = parse_config('tempo = 120\nchords = "Cmaj7 Dm7 G7"\n', Path("c.toml"))
    near, _ = loopback_pair()
    found = Bridge(config, near, tmp_path_factory.mktemp("takes"))
    found.start()
    yield found
    found.stop()


def test_each_reader_gets_each_event_once() -> None:
    feed = Feed()
    first = Reader(feed, 0.0)
    feed.add(NoteOn(1.0, 60, 80, Part.PLAYER))
    assert first.frame(None, 1.0)["events"] == [[1.0, "on", 0, 60, 80]]
    assert "events" not in first.frame(None, 1.1)
    feed.add(NoteOff(1.2, 60, Part.PLAYER))
    assert first.frame(None, 1.3)["events"] == [[1.2, "off", 0, 60]]
    late = Reader(feed, 1.1)  # a page that is opened now gets the latest
    assert late.frame(None, 1.4)["events"] == [[1.2, "off", 0, 60]]


def test_a_reader_that_was_away_gets_what_is_kept() -> None:
    feed = Feed()
    reader = Reader(feed, 0.0)
    for index in range(KEPT + 100):
        feed.add(Pedal(float(index), bool(index % 2), Part.PARTNER))
    rows = reader.frame(None, 0.0)["events"]
    assert len(rows) == KEPT
    assert rows[-1] == row_of(Pedal(float(KEPT + 99), True, Part.PARTNER))


def test_of_a_chart_that_goes_on_for_hours_the_near_chords_are_told(bridge: Bridge) -> None:
    session = bridge.playing()
    reader = Reader(bridge.feed, session.began)
    first = reader.frame(session, session.began + 0.1)["chords"]
    assert [name for _, name in first] == ["Cmaj7", "Dm7"]
    assert [round(time - session.began, 3) for time, _ in first] == [0.0, 2.0]
    assert "chords" not in reader.frame(session, session.began + 0.2)
    assert [name for _, name in reader.frame(session, session.began + 2.1)["chords"]] == ["G7"]
    hours = reader.frame(session, session.began + 7200.0)["chords"]
    assert len(hours) <= 16


def test_the_beats_of_a_given_tempo_are_told_once_and_the_bars_marked(bridge: Bridge) -> None:
    session = bridge.playing()
    reader = Reader(bridge.feed, session.began)
    rows = []
    for step in range(1, 81):
        rows += reader.frame(session, session.began + step * 0.05).get("beats", [])
    assert [round(time - session.began, 3) for time, _ in rows] == [index * 0.5 for index in range(8)]
    assert [bar for _, bar in rows] == [1, 0, 0, 0, 1, 0, 0, 0]
    ahead = beats(session, session.began + 4.0, session.began + 6.0)
    assert [bar for _, bar in ahead] == [1, 0, 0, 0]


def test_what_the_partner_plans_is_told_before_it_is_played(tmp_path: Path) -> None:
    near, far = loopback_pair()
    config = parse_config('[controls]\nmode = "continuous"\n', Path("c.toml"))
    found = Bridge(config, near, tmp_path)
    found.start()
    try:
        reader, planned, played = Reader(found.feed, 0.0), set(), set()
        deadline = now() + 30
        while not planned & played:
            assert now() < deadline, (planned, played)
            for pitch in (60, 64, 67):
                far.send(bytes((0x90, pitch, 70)))
                for _ in range(10):
                    frame = reader.frame(found.playing(), now())
                    planned |= {tuple(row[2:4]) for row in frame.get("plan", []) if row[1] == "on"}
                    played |= {tuple(row[2:4]) for row in frame.get("events", []) if row[1] == "on"}
                    threading.Event().wait(0.02)
                far.send(bytes((0x80, pitch, 0)))
        assert all(part == 1 for part, _ in planned)
    finally:
        found.stop()


def test_a_duet_that_fails_is_begun_anew(bridge: Bridge) -> None:
    session = bridge.playing()
    session.failure = RuntimeError("broken")
    session.end()
    deadline = now() + 10
    while (again := bridge.session) is None or again is session or not bridge.state().restarts:
        assert now() < deadline
        time.sleep(0.005)
    state = bridge.state()
    assert (state.what, state.problem, state.restarts) == ("playing", "RuntimeError: broken", 1)
    assert again.controls == session.controls


def test_the_memory_of_a_duet_that_goes_on_for_weeks_is_bounded(bridge: Bridge) -> None:
    tape = bridge.playing().tape
    assert tape.limit == TAPE_BYTES <= 2**23
    tape.limit = 2**16
    for index in range(2**16):
        tape.read(index * 0.01)
    assert not tape.whole
    assert tape.size <= 2**16 + 16


def test_a_duet_that_is_played_out_is_begun_anew_and_nothing_kept_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plugin_bridge.daemon.bridge.LOOK_SECONDS", 0.05)
    monkeypatch.setattr("plugin_bridge.duet.session.SILENT_END", 0.2)

    def keeps_little(engine: Engine, ports: MidiPorts, settings: SessionSettings, **more: Any) -> DuetSession:
        return DuetSession(engine, ports, replace(settings, kept=1.5), **more)

    near, far = loopback_pair()
    config = parse_config("", Path("c.toml"))
    found = Bridge(config, near, tmp_path, make_session=keeps_little)
    found.start()
    try:
        first = found.playing()
        first.set_control("density", 2.5)
        far.send(bytes((0x90, 60, 70)))
        time.sleep(0.1)
        far.send(bytes((0x80, 60, 0)))
        deadline = now() + 10
        while first.recording.player_notes == 0 or first.controls.density != 2.5:
            assert now() < deadline
            time.sleep(0.005)
        assert not first.played_out(60.0)
        while (again := found.session) is None or again is first:
            assert now() < deadline
            time.sleep(0.005)
        state = found.state()
        assert (state.what, state.problem, state.restarts) == ("playing", None, 0)
        assert again.controls == first.controls
        assert again.tape.size < first.tape.size
        assert [len(track.notes) for track in read_midi(tmp_path / "latest.mid").tracks] == [1]
    finally:
        found.stop()
