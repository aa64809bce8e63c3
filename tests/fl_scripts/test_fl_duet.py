"""FL Studio with its script, and the real program in a process of its own, on real virtual ports."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from fakes.fl_host import FlHost, LiveFl
from fakes.jack import JackServer

from plugin_bridge.engine.bundle import Style
from plugin_bridge.ports.clock import now
from plugin_bridge.ports.midi_ports import open_named

SETTLED = 0.25
"""Seconds after a change of the transport from which onsets are judged: what was sent before it stays sent,
and what FL tells right after a jump is up to 16 ms off."""
NEAR = 0.010


def program(style: Style, server: JackServer, folder: Path, *more: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "plugin_bridge.cli", "jam", "--fl", "--style", str(style.folder), "--mode",
         "continuous", "--set", "grid=1", "--report", str(folder / "report.json"), "--takes", str(folder),
         *more],
        env=server.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    line = process.stdout.readline()
    assert "listening on 'Plugin Bridge In'" in line, line + (process.stdout.read() or "")
    return process


class Player:
    """Plays at random for as long as it is told to, and lets go of everything."""

    def __init__(self, fl: LiveFl, seed: int) -> None:
        self.fl, self.chance = fl, random.Random(seed)

    def play(self, seconds: float) -> None:
        end = now() + seconds
        while now() < end:
            pitch = self.chance.randrange(48, 80)
            self.fl.ports.send(bytes((0x90, pitch, self.chance.randrange(30, 110))))
            time.sleep(self.chance.choice((0.08, 0.15, 0.25)))
            self.fl.ports.send(bytes((0x80, pitch, 0)))


def test_onsets_fall_on_fls_sixteenths_and_every_note_arrives(
    jack_server: JackServer, style: Style, tmp_path: Path
) -> None:
    process = program(style, jack_server, tmp_path)
    changes: list[float] = []
    with open_named("Plugin Bridge Out", "Plugin Bridge In", backend="jack") as ports, LiveFl(ports) as fl:
        player = Player(fl, 1)

        def change(act: Callable[[FlHost], object]) -> None:
            changes.append(fl.now(act))

        def begin(host: FlHost) -> None:
            host.tempo, host.selection = 97.0, (0, 32 * 96)
            host.play()

        assert wait(lambda: "Plugin Bridge" in fl.host.hint), "the link is there"
        change(begin)
        player.play(6.0)
        change(lambda host: setattr(host, "tempo", 124.0))
        player.play(5.0)
        change(lambda host: host.jump(29.3))  # and the loop wraps at 32, a second and a half later
        player.play(6.0)
        change(lambda host: host.stop())
        time.sleep(1.5)
        assert fl.host.sounding() == [], "the partner stops when FL does"
        silent = len(strokes(fl.host))
        player.play(1.5)
        assert len(strokes(fl.host)) == silent, "and waits for it"
        change(lambda host: host.play())
        player.play(4.0)
        process.terminate()
        out, _ = process.communicate(timeout=30)
        time.sleep(0.3)
        fl.host.finish()
    assert process.returncode == 0, out
    report = json.loads((tmp_path / "report.json").read_text())
    onsets = strokes(fl.host)
    assert len(onsets) == report["partner_notes"] > 20
    assert report["hung_notes"] == 0
    judged = [
        abs(each.position * 4 - round(each.position * 4))
        / 4
        * 60
        / (97.0 if each.time < changes[1] else 124.0)
        for each in onsets
        if not any(0 <= each.time - at < SETTLED for at in changes)
    ]
    assert len(judged) > 15
    # a busy machine may deliver a message late: that is the ports', not the plan's
    assert sorted(judged)[int(0.9 * len(judged))] < NEAR


def wait(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    end = now() + seconds
    while now() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def strokes(host: FlHost):
    """What the partner struck, as FL got it. The player's notes go to the program, not through FL."""
    return [each for each in list(host.played) if each.message[0] & 0xF0 == 0x90 and each.message[2]]


def test_notes_stop_within_a_second_when_the_program_is_killed(
    jack_server: JackServer, style: Style, tmp_path: Path
) -> None:
    process = program(style, jack_server, tmp_path)
    with open_named("Plugin Bridge Out", "Plugin Bridge In", backend="jack") as ports, LiveFl(ports) as fl:
        player = Player(fl, 2)
        assert wait(lambda: "Plugin Bridge" in fl.host.hint)
        fl.now(lambda host: host.play())
        player.play(2.0)
        end = now() + 20
        while not fl.host.sounding() and now() < end:
            player.play(0.1)
        assert fl.host.sounding()
        process.kill()
        killed = now()
        assert wait(lambda: fl.host.sounding() == [], 5.0)
        assert now() - killed < 1.5  # a second by FL's clock, and what a busy machine adds
        process.wait(timeout=10)
