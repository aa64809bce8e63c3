"""Minutes of a fake FL Studio beside the real program, on real ports: random play, stops, jumps, loops.

    jackd -r -S -d dummy -r 48000 -p 64 &
    python tools/soak_fl.py --seconds 600

The host is tests/fakes/fl_host.py with the real controller script; the program is `jam --fl` in a process of
its own, playing along with the grid at 1. Judged by what FL got: hanging notes, notes lost on the way, and
how far onsets are from the host's sixteenths: all of them, and those later than a quarter of a second after
a change of the transport.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from fakes.fl_host import FlHost, LiveFl

from plugin_bridge.ports.clock import now
from plugin_bridge.ports.midi_ports import open_named

SETTLED = 0.25


def play(fl: LiveFl, seconds: float, chance: random.Random) -> list[tuple[float, str, float]]:
    """Play and do things to the transport; what was done, when, and the tempo from then on."""
    changes: list[tuple[float, str, float]] = []

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

        changes.append((fl.now(act), what, fl.host.tempo))

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


def judge(host: FlHost, changes: list[tuple[float, str, float]], report: dict[str, int]) -> dict[str, object]:
    """What FL got, against the grid and against what the program says it sent."""
    onsets = [each for each in host.played if each.message[0] & 0xF0 == 0x90 and each.message[2]]
    away, settled = [], []
    for each in onsets:
        before = [change for change in changes if change[0] <= each.time]
        distance = abs(each.position * 4 - round(each.position * 4)) * 15 / before[-1][2] * 1e3
        away.append(distance)
        if each.time - before[-1][0] >= SETTLED:
            settled.append(distance)
    slowest = {name: round(max(took) * 1e3, 2) for name, took in host.took.items()}
    common = {name: round(sorted(took)[int(0.99 * len(took))] * 1e3, 2) for name, took in host.took.items()}
    return {
        "changes": len(changes), "notes_at_fl": len(onsets), "notes_sent": report["partner_notes"],
        "hung_by_report": report["hung_notes"], "sounding_at_the_end": host.sounding(),
        "grid_ms": _spread(away), "grid_ms_settled": _spread(settled),
        "within_10_ms_settled": round(float(np.mean(np.array(settled) <= 10.0)), 4),
        "callback_p99_ms": common, "callback_worst_ms": slowest,
        "frames_a_tick_at_most": max(host.sent_in_tick), "dropped_by_fl": len(host.dropped),
        "escaped": host.escaped, "printed": host.printed,
    }  # fmt: skip


def _spread(values: list[float]) -> dict[str, float | int]:
    if not values:
        return {"n": 0}
    p50, p95, p99 = (round(float(each), 2) for each in np.percentile(values, (50, 95, 99)))
    return {"p50": p50, "p95": p95, "p99": p99, "max": round(max(values), 2), "n": len(values)}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--style", default="base")
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
