"""Minutes of a fake FL Studio beside the real program, on real ports: random play, stops, jumps, loops.

    jackd -R -P 20 -S -d dummy -r 48000 -p 64 &
    python tools/soak_fl.py --seconds 600
    python tools/soak_fl.py --seconds 200 --do tempo --pause 1 3

The host is tests/fakes/fl_host.py with the real controller script; the program is `jam --fl` in a process of
its own, playing along with the grid at 1. Judged by what FL got: hanging notes, notes lost on the way, and
how far onsets are from the host's sixteenths when they come in at the host's port.

`grid_ms` counts every onset but those of which the program cannot have known better: between a start, stop,
jump or change of tempo, and the earliest moment at which a note could arrive that left after the script's
first report of it and 3 ms more, within which what is due stays. These are counted by themselves, as
`unknowable`. What the way through JACK adds is in the
figures; let the server have its priority, as musicians do (`-R`), or whatever else the machine does is, too.
Each onset beyond 10 ms is told with all that led to it (tools/fl_story.py).

`callbacks_cpu_ms` has the script's callbacks and, as `beside`, a loop of fixed work that is measured in the
same way in each tick: what is slow in it is the machine's. `dear` are the calls of more than a millisecond
with what they did. What this program loads and notes down is kept out of the sight of Python's collector
(`gc.freeze`), for in FL's interpreter there is only the script; the collector runs on for what that makes.
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
import threading
import time
from array import array
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from fakes.fl_costs import Call
from fakes.fl_host import FlHost, LiveFl, Played
from fl_story import Stories

from plugin_bridge.commands.options import make_engine
from plugin_bridge.duet.listening import FINAL
from plugin_bridge.duet.takes import LATEST
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


class Stolen:
    """How much time other machines took from this one's processors: Linux counts it in ticks."""

    def __init__(self) -> None:
        self._log = array("d")
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Stolen:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def around(self, time: float) -> float:
        """Milliseconds that were taken within a tenth of a second of `time`."""
        log = np.array(self._log[:]).reshape(-1, 2)
        near = log[(log[:, 0] > time - 0.1) & (log[:, 0] < time + 0.2)]
        return round(float(np.ptp(near[:, 1])) * 1e3 / os.sysconf("SC_CLK_TCK"), 1) if len(near) else 0.0

    def _run(self) -> None:
        while not self._done.wait(0.05):
            self._log.extend((now(), float(Path("/proc/stat").read_text().split(None, 9)[8])))


def fixed_work() -> int:
    """About as long as `OnIdle` takes, and always the same."""
    value = 0
    for each in range(3000):
        value ^= each
    return value


def play(
    fl: LiveFl, seconds: float, chance: random.Random, done: Sequence[str], pauses: Sequence[float]
) -> list[Change]:
    """Play and do things to the transport: one of `done` after one of `pauses`, seconds."""
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
        gc.freeze()
        pitch = chance.randrange(48, 80)
        fl.ports.send(bytes((0x90, pitch, chance.randrange(30, 110))))
        time.sleep(chance.choice((0.06, 0.12, 0.2, 0.3)))
        fl.ports.send(bytes((0x80, pitch, 0)))
        time.sleep(chance.choice((0.0, 0.05, 0.2)))
        if now() > next_change:
            change(chance.choice(done) if fl.host.playing else "start")
            next_change = now() + chance.choice(pauses)
    return changes


def judge(
    host: FlHost, changes: list[Change], report: dict[str, float], stories: Stories, stolen: Stolen
) -> dict[str, object]:
    """What FL got, against the grid and against what the program says it sent."""
    onsets = [each for each in host.played if each.message[0] & 0xF0 == 0x90 and each.message[2]]
    blind = _blind(host, changes, report["round_trip_ms"] / 1e3)
    known = [each for each in onsets if not any(start <= each.arrived < end for start, end in blind)]
    unknowable = [each for each in onsets if each not in known]
    away = np.array([abs(each.off_grid) * 1e3 for each in known])
    sent = [(each, left) for each in known if (left := stories.left(each)) is not None]
    way = float(np.median([each.arrived - left.sent for each, left in sent]))
    parts = [found for each, _ in sent if (found := stories.parts(each, way)) is not None]
    off = [each for each in known if abs(each.off_grid) * 1e3 > RIGHT]
    return {
        "changes": len(changes), "notes_at_fl": len(onsets), "notes_sent": report["partner_notes"],
        "hung_by_report": report["hung_notes"], "sounding_at_the_end": host.sounding(),
        "round_trip_ms": report["round_trip_ms"], "sent_late_ms": report["lateness_ms"],
        "late_ms": round(float(np.mean([each.off_grid * 1e3 for each in known])), 2),
        "grid_ms": _spread(list(away)), "within_10_ms": round(float(np.mean(away <= RIGHT)), 4),
        "way_ms": round(way * 1e3, 2),
        "parts": {name: _ends([abs(each[name]) for each in parts]) for name in parts[0]},
        "further_off": [_told(each, changes) for each in off],
        "sent_late": {f"over {most} ms": stories.sent_late(most / 1e3) for most in (3, 5, 10)},
        "stories": [
            {**stories.story(each, way), "stolen_around_ms": stolen.around(each.arrived)} for each in off[:20]
        ],
        "unknowable": _spread([abs(each.off_grid) * 1e3 for each in unknowable]),
        "callbacks_cpu_ms": {name: _slow(took.cpu) for name, took in host.costs.took.items()},
        "callbacks_wall_ms": {name: _slow(took.wall) for name, took in host.costs.took.items()},
        "collector_ms": _ends([each * 1e3 for each in host.costs.collected]),
        "dear": [
            _dear(each, changes[0].time, stolen)
            for each in sorted(host.costs.dear, key=lambda call: -call.cpu)[:40]
        ],
        "messages_a_tick_at_most": max(host.sent_in_tick), "dropped_by_fl": len(host.dropped),
        "escaped": host.escaped, "printed": host.printed,
    }  # fmt: skip


def _blind(host: FlHost, changes: list[Change], round_trip: float) -> list[tuple[float, float]]:
    """From when to when notes arrive that no report of a change can have reached before they left, or only
    when they were due within `FINAL`, which stay."""
    reports = [
        sent
        for sent, message in host.arrived
        if (frame := parse_frame(message)) is not None
        and any(each.name == "transport" for each in read_messages(frame.payload, SCRIPT))
    ]
    return [
        (change.time, min(sent for sent in reports if sent > change.time) + round_trip + FINAL)
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


def _dear(call: Call, start: float, stolen: Stolen) -> dict[str, object]:
    """A call that took more than a millisecond of the processor's time, or long, and what it did; `at` in
    seconds from `start`."""
    times = {f"{name}_ms": round(getattr(call, name) * 1e3, 2) for name in ("cpu", "wall", "collecting")}
    return {
        "name": call.name, "at": round(call.time - start, 2), **times, **asdict(call.work),
        "preempted": call.preempted, "faults": call.faults,
        "stolen_around_ms": stolen.around(call.time),
    }  # fmt: skip


def _ends(values: list[float]) -> dict[str, float | int]:
    if not values:
        return {"n": 0}
    p50, p99 = (round(float(each), 2) for each in np.percentile(values, (50, 99)))
    return {"p50": p50, "p99": p99, "max": round(max(values), 2), "n": len(values)}


def _slow(values: Sequence[float]) -> dict[str, float | int]:
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
    parser.add_argument("--do", nargs="+", default=("stop", "jump", "jump", "tempo"))
    parser.add_argument("--pause", nargs="+", type=float, default=(2.0, 5.0, 9.0))
    options = parser.parse_args()
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
        with (
            Stolen() as stolen,  # no thread of this process may hold up the host's
            open_named("Plugin Bridge Out", "Plugin Bridge In") as ports,
            LiveFl(ports) as fl,
        ):
            fl.host.beside = fixed_work
            gc.collect()
            time.sleep(2.0)
            hands = random.Random(options.seed)  # noqa: S311 - no secrets
            changes = play(fl, options.seconds, hands, options.do, options.pause)
            jam.terminate()
            jam.communicate(timeout=30)
            time.sleep(0.5)
            stories = Stories(fl.host, Path(name) / f"{LATEST}.take", lambda: make_engine(options.style))
            result = judge(fl.host, changes, json.loads(path.read_text()), stories, stolen)
    print(json.dumps(result, indent=1))
    return 0 if not result["sounding_at_the_end"] else 1


if __name__ == "__main__":
    sys.exit(main())
