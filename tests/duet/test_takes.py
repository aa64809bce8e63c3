"""A take plays again exactly, and the latest minutes are there as MIDI."""

from __future__ import annotations

import json
import os
import random
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import hypothesis.strategies as st
import pytest
from fakes.loopback_host import QUICK, Host
from hypothesis import given, settings

from plugin_bridge.duet.conductor import Item, Message, Setting
from plugin_bridge.duet.controls import Controls
from plugin_bridge.duet.offline import replay, simulate
from plugin_bridge.duet.phrases import Mode
from plugin_bridge.duet.session import DuetSession
from plugin_bridge.duet.takes import MOST_KEPT, load_take, replay_take, save_take
from plugin_bridge.engine.engine import Engine
from plugin_bridge.errors import BridgeError
from plugin_bridge.music.chords import parse_progression
from plugin_bridge.music.events import Pedal
from plugin_bridge.music.harmony import even_chart
from plugin_bridge.music.midi_file import read_midi
from plugin_bridge.ports.loopback import loopback_pair


def random_play(seed: int, seconds: float) -> list[tuple[float, Item]]:
    """A player, a pedal, and hands on the controls."""
    chance = random.Random(seed)
    items: list[tuple[float, Item]] = []
    at = 0.2
    while at < seconds:
        pitch = chance.randrange(40, 90)
        message = chance.choice([
            bytes((0x90, pitch, chance.randrange(1, 127))), bytes((0x90, pitch, chance.randrange(1, 127))),
            bytes((0x80, pitch, 0)), bytes((0xB0, 64, chance.choice((0, 127)))),
            bytes((0xB0, chance.choice((20, 22, 27, 29, 30, 31, 102, 103)), chance.randrange(128))),
        ])  # fmt: skip
        items.append((at, Message(message, 1000.0 + at)))
        at += chance.choice((0.0, 0.01, 0.1, 0.3, 1.5))
    return items


def played(duet) -> list[tuple[float, object]]:
    return [(each.due, each.event) for each in duet.recording.left() if each.due < duet.tape.reached]


@pytest.mark.parametrize("mode", list(Mode), ids=lambda mode: mode.value)
def test_a_simulated_duet_plays_again_exactly(style, mode: Mode) -> None:
    start = replace(QUICK, controls=Controls(mode=mode))
    duet = simulate(Engine(style), start, random_play(3, 40.0), 40.0)
    assert duet.recording.partner_notes > 10
    assert duet.recording.hung_notes == 0
    again = replay(Engine(style), start, duet.tape)
    again.tape.reached = duet.tape.reached
    assert played(again) == played(duet)


def test_the_same_input_and_another_seed_is_another_duet(style) -> None:
    one = simulate(Engine(style), QUICK, random_play(3, 20.0), 20.0)
    two = simulate(Engine(style), replace(QUICK, seed=9), random_play(3, 20.0), 20.0)
    assert played(one) != played(two)


def test_a_live_session_plays_again_exactly(style, tmp_path: Path) -> None:
    ours, theirs = loopback_pair()
    chart = even_chart(parse_progression("Dm7 G7"), 2.0, end=100.0)
    start = replace(QUICK, controls=Controls(mode=Mode.CONTINUOUS), chart=chart, tempo=120.0)
    with ours, theirs, DuetSession(Engine(style), ours, start) as session:
        host = Host(theirs)
        for index in range(12):
            host.play([60 + index, 64 + index % 5], gap=0.06)
            if index == 6:
                session.change_mode(Mode.ANSWER)
                time.sleep(0.8)
            theirs.send(bytes((0xB0, 22, 40 + index)))
        host.wait_for_notes(3)
        time.sleep(1.2)  # the partner has looked at the clock since: a tape ends where it did so last
        session.stop()
        midi = session.save_take(tmp_path, "one")
    report = session.report()
    assert report.dropped_late == 0
    take = load_take(tmp_path / "one.take")
    assert len(take.late) == len(take.sent) > 0
    assert min(take.late) >= 0
    assert take.settings == replace(start, styles=())
    compared = replay_take(take, Engine(style))
    assert compared.same == compared.events == len(take.sent) > 0
    notes = {track.name: len(track.notes) for track in read_midi(midi).tracks}
    assert notes == {"player": report.player_notes, "partner": report.partner_notes}


def test_only_the_latest_minutes_are_kept(style, tmp_path: Path) -> None:
    short = replace(QUICK, kept=10.0)
    duet = simulate(Engine(style), short, random_play(5, 60.0), 60.0)
    clip = duet.recording.clip(1000.0, 1060.0)
    assert clip.duration <= 10.0
    left = duet.recording.left()
    last = max(each.due for each in left if not isinstance(each.event, Pedal))
    assert all(each.due >= last - 10.0 for each in left)
    save_take(tmp_path, "x", clip, short, duet.tape, style, duet.recording.left())
    compared = replay_take(load_take(tmp_path / "x.take"), Engine(style))
    assert compared.same == compared.events == len(played(duet))


def saved(style, folder: Path) -> Path:
    duet = simulate(Engine(style), QUICK, random_play(1, 6.0), 6.0)
    save_take(folder, "t", duet.recording.clip(1000.0, 1006.0), QUICK, duet.tape, style, [])
    return folder / "t.take"


def test_takes_that_are_none_are_refused_in_one_line(style, tmp_path: Path) -> None:
    good = saved(style, tmp_path)
    with zipfile.ZipFile(good) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    description = json.loads(parts["take.json"])

    def write(name: str, **changes: bytes) -> Path:
        path = tmp_path / name
        with zipfile.ZipFile(path, "w") as archive:
            for member, data in {**parts, **changes}.items():
                if data:
                    archive.writestr(member, data)
        return path

    bad = [
        tmp_path / "missing.take",
        write("a.take", **{"readings.bin": b""}),
        write("b.take", **{"readings.bin": parts["readings.bin"][:-3]}),
        write("c.take", **{"inputs.bin": parts["inputs.bin"][:-3]}),
        write("d.take", **{"take.json": b"[]"}),
        write("e.take", **{"take.json": json.dumps({**description, "format": 99}).encode()}),
        write("f.take", **{"take.json": json.dumps({**description, "settings": {}}).encode()}),
    ]
    (tmp_path / "g.take").write_bytes(b"not a zip")
    for path in (*bad, tmp_path / "g.take"):
        with pytest.raises(BridgeError, match=path.name) as caught:
            load_take(path)
        assert "\n" not in str(caught.value)


@settings(max_examples=60)
@given(st.data())
def test_a_damaged_take_is_refused_or_read(style, tmp_path_factory, data) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    raw = bytearray(_good_take(style, tmp_path_factory))
    for _ in range(data.draw(st.integers(1, 8))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path = folder / "x.take"
    path.write_bytes(raw)
    try:
        load_take(path)
    except BridgeError as error:
        assert "x.take" in str(error)


_GOOD: list[bytes] = []


def _good_take(style, factory) -> bytes:
    if not _GOOD:
        _GOOD.append(saved(style, factory.mktemp("good")).read_bytes())
    return _GOOD[0]


def test_a_tape_of_something_that_failed_is_not_played_again(style) -> None:
    duet = simulate(Engine(style), QUICK, [(0.5, Setting("mode", 1.0))], 2.0)
    duet.tape.whole = False
    with pytest.raises(BridgeError, match="cannot be played again"):
        replay(Engine(style), QUICK, duet.tape)


def test_the_oldest_takes_go(style, tmp_path: Path) -> None:
    duet = simulate(Engine(style), QUICK, random_play(1, 3.0), 3.0)
    clip = duet.recording.clip(1000.0, 1003.0)
    for number in range(MOST_KEPT + 3):
        path = save_take(tmp_path, f"take {number:03}", clip, QUICK, duet.tape, style, [])
        for each in (path, path.with_suffix(".take")):
            os.utime(each, ns=(number, number))
    left = sorted(path.name for path in tmp_path.iterdir())
    assert len(left) == 2 * MOST_KEPT
    assert left[:2] == ["take 003.mid", "take 003.take"]
