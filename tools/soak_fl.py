"""Minutes of a fake FL Studio beside the real program, on real ports: random play, stops, jumps, loops.

    jackd -R -P 20 -S -d dummy -r 48000 -p 64 &
    python tools/soak_fl.py --seconds 600

The host is tests/fakes/fl_host.py with the real controller script; the program is `jam --fl` in a process of
its own, playing along with the grid at 1. Judged by what FL got: hanging notes, notes lost on the way, and
how far onsets are from the host's sixteenths when they come in at the host's port.

`grid_ms` counts every onset but those of which the program cannot have known better: between a start, stop,
jump or change of tempo, and the earliest moment at which a note could arrive that left after the script's
first report of it. These are counted by themselves, as `unknowable`. What the way through JACK adds is in the
figures; let the server have its priority, as musicians do (`-R`), or whatever else the machine does is, too.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from fakes.fl_host import FlHost, LiveFl, Played

from plugin_bridge.ports.clock import now
from plugin_bridge.ports.fl_protocol import SCRIPT, parse_frame, read_messages
from plugin_bridge.ports.midi_ports import open_named

RIGHT = 10.0
"""Milliseconds."""


@dataclass
class Change:
    """What was done to the transport, and when, seconds."""

    time: float
    what: str


def play(fl: LiveFl, seconds: float, chance: random.Random) -> list[Change]:
    """Play and do things to the transport."""
    changes: list[Change] = []

    def change(what: str) -> None:
        def act(host: FlHost) -> None:
            match what:
                case "start":
                    host.play()
                case "stop":
                    host.stop()
                case "tempo":
                    host.tempo = round(chance.uniform(70, 160), 1)
                case "jump":
                    host.jump(round(chance.uniform(0, 28), 2))

        changes.append(Change(fl.now(act), what))

    fl.now(lambda host: setattr(host, "tempo", 97.0))
    fl.now(lambda host: setattr(host, "selection", (0, 32 * 96)))
    change("start")
    end, next_change = now() + seconds, now() + 8.0
    while now() < end:
        pitch = chance.randrange(48, 80)
        fl.ports.send(bytes((0x90, pitch, chance.randrange(30, 110))))
        time.sleep(chance.choice((0.06, 0.12, 0.2, 0.3)))
        fl.ports.send(bytes((0x80, pitch, 0)))
        time.sleep(chance.choice((0.0, 0.05, 0.2)))
        if now() > next_change:
            change(chance.choice(("stop", "jump", "jump", "tempo")) if fl.host.playing else "start")
            next_change = now() + chance.choice((2.0, 5.0, 9.0))
    return changes


def judge(host: FlHost, changes: list[Change], report: dict[str, float]) -> dict[str, object]:
    """What FL got, against the grid and against what the program says it sent."""
    onsets = [each for each in host.played if each.message[0] & 0xF0 == 0x90 and each.message[2]]
    blind = _blind(host, changes, report["round_trip_ms"] / 1e3)
    known = [each for each in onsets if not any(start <= each.arrived < end for start, end in blind)]
    unknowable = [each for each in onsets if each not in known]
    away = np.array([abs(each.off_grid) * 1e3 for each in known])
    return {
        "changes": len(changes), "notes_at_fl": len(onsets), "notes_sent": report["partner_notes"],
        "hung_by_report": report["hung_notes"], "sounding_at_the_end": host.sounding(),
        "round_trip_ms": report["round_trip_ms"], "sent_late_ms": report["lateness_ms"],
        "late_ms": round(float(np.mean([each.off_grid * 1e3 for each in known])), 2),
        "grid_ms": _spread(list(away)), "within_10_ms": round(float(np.mean(away <= RIGHT)), 4),
        "further_off": [_told(each, changes) for each in known if abs(each.off_grid) * 1e3 > RIGHT],
        "unknowable": _spread([abs(each.off_grid) * 1e3 for each in unknowable]),
        "callbacks_cpu_ms": {name: _slow(took.cpu) for name, took in host.took.items()},
        "callbacks_wall_ms": {name: _slow(took.wall) for name, took in host.took.items()},
        "frames_a_tick_at_most": max(host.sent_in_tick), "dropped_by_fl": len(host.dropped),
        "escaped": host.escaped, "printed": host.printed,
    }  # fmt: skip


def _blind(host: FlHost, changes: list[Change], round_trip: float) -> list[tuple[float, float]]:
    """From when to when notes arrive that no report of a change can have reached before they left."""
    reports = [
        sent
        for sent, message in host.arrived
        if (frame := parse_frame(message)) is not None
        and any(each.name == "transport" for each in read_messages(frame.payload, SCRIPT))
    ]
    return [
        (change.time, min(sent for sent in reports if sent > change.time) + round_trip)
        for change in changes
        if reports[-1] > change.time
    ]


def _told(onset: Played, changes: list[Change]) -> str:
    """One onset that is off, for people: how far, and how long after what."""
    before = [each for each in changes if each.time <= onset.arrived][-1]
    waited = (onset.time - onset.arrived) * 1e3
    return (
        f"{onset.off_grid * 1e3:+.1f} ms, {onset.arrived - before.time:.3f} s after {before.what}, "
        f"looked at {waited:.1f} ms late"
    )


def _slow(values: list[float]) -> dict[str, float | int]:
    low, high = (float(each) * 1e3 for each in (np.percentile(values, 99), max(values)))
    return {"p99": round(low, 2), "slowest": round(high, 2), "n": len(values)}


def _spread(values: list[float]) -> dict[str, float | int]:
    if not values:
        return {"n": 0}
    p50, p95, p99 = (round(float(each), 2) for each in np.percentile(values, (50, 95, 99)))
    return {"p50": p50, "p95": p95, "p99": p99, "max": round(max(values), 2), "n": len(values)}


def _ask_for_priority() -> None:
    """Let the host's threads run before others, where that is allowed, as FL's audio and MIDI threads do: it
    is the program that is judged here. What is started before is not touched."""
    if hasattr(os, "sched_setscheduler"):
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--style", default="base")
    options = parser.parse_args()
    gc.disable()  # what this program has loaded and notes down is not in FL's interpreter, to be gone through
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "report.json"
        jam = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "plugin_bridge.cli", "jam", "--fl", "--style", options.style, "--mode",
             "continuous", "--set", "grid=1", "--report", str(path), "--takes", name],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert jam.stdout is not None
        jam.stdout.readline()
        _ask_for_priority()
        with open_named("Plugin Bridge Out", "Plugin Bridge In") as ports, LiveFl(ports) as fl:
            time.sleep(2.0)
            changes = play(fl, options.seconds, random.Random(options.seed))  # noqa: S311 - hands
            jam.terminate()
            jam.communicate(timeout=30)
            time.sleep(0.5)
            result = judge(fl.host, changes, json.loads(path.read_text()))
    print(json.dumps(result, indent=1))
    return 0 if not result["sounding_at_the_end"] else 1


if __name__ == "__main__":
    sys.exit(main())
