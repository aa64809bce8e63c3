"""How soon everything is off after a session is told to end while notes sound.

    python benchmarks/end_by_signal.py [--rounds 20] [--signal TERM] [--json]

Needs jackd. In each round a session (`jam --mode continuous`) plays along with this process through real
ports until the partner holds notes; then the signal is sent. What arrives at the port is the judge: every
note off, the last of them within 100 ms of the signal, and exit status 0. Exit status 1 when a round fails.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import numpy as np
import rtmidi
from fakes.ending import unwind_when_told_to_end
from fakes.jack import JackServer, start_jack, stop_jack

from plugin_bridge.ports.held import Held

WITHIN = 0.1
"""Seconds."""
PATIENCE = 30.0
CHORDS = ((48, 60, 64, 67), (45, 57, 60, 64), (41, 53, 57, 60), (43, 55, 59, 62))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--signal", choices=("TERM", "INT"), default="TERM")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    unwind_when_told_to_end()
    number = signal.Signals[f"SIG{options.signal}"]
    with tempfile.TemporaryDirectory() as folder:
        server = start_jack(f"pbend{os.getpid()}", Path(folder) / "jackd.log")
        try:
            rounds = [one_round(server, number, Path(folder)) for _ in range(options.rounds)]
        finally:
            stop_jack(server)
    took = [each["last_off_ms"] for each in rounds]
    passed = all(each["held"] == 0 and each["status"] == 0 for each in rounds) and max(took) <= WITHIN * 1e3
    report = {
        "rounds": len(rounds), "signal": number.name, "passed": passed,
        "notes_off": sum(each["sounding"] for each in rounds), "still_held": sum(each["held"] for each in
        rounds), "last_off_ms": {"p50": round(float(np.median(took)), 1), "highest": max(took)},
    }  # fmt: skip
    if options.json:
        print(json.dumps(report, indent=1))
    else:
        print(
            f"{len(rounds)} sessions ended by {number.name}: {report['notes_off']} notes sounded, "
            f"{report['still_held']} were left; the last was off after {report['last_off_ms']['p50']} ms "
            f"in the median, {max(took)} at most: {'passed' if passed else 'FAILED'}"
        )
    return 0 if passed else 1


def one_round(server: JackServer, number: signal.Signals, folder: Path) -> dict[str, Any]:
    """Play until the partner holds notes, send the signal, and listen until nothing comes any more."""
    os.environ.update(server.env)
    command = [
        sys.executable, "-m", "plugin_bridge.cli", "jam", "--mode", "continuous",
        "--takes", str(folder / "takes"),
    ]  # fmt: skip
    session = subprocess.Popen(  # noqa: S603 - our own program
        command, env=server.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    keys = rtmidi.MidiOut(rtmidi.API_UNIX_JACK, name="End Keys")
    ears = rtmidi.MidiIn(rtmidi.API_UNIX_JACK, name="End Ears", queue_size_limit=65536)
    try:
        assert session.stdout is not None
        if "listening" not in session.stdout.readline():
            raise SystemExit(session.stdout.read())
        connect(keys, "Plugin Bridge In")
        connect(ears, "Plugin Bridge Out")
        held = Held()
        began = time.perf_counter()
        chord = 0
        while len(held) < 2:
            if time.perf_counter() - began > PATIENCE:
                raise SystemExit("the partner held no two notes at once for half a minute")
            for pitch in CHORDS[chord % 4]:
                keys.send_message([0x90, pitch, 80])
            listen(ears, held, 0.4, until=2)
            for pitch in CHORDS[chord % 4]:
                keys.send_message([0x80, pitch, 0])
            chord += 1
        sounding = len(held)
        told = time.perf_counter()
        session.send_signal(number)
        ended = listen(ears, held, 1.0)
        status = session.wait(PATIENCE)
        return {
            "sounding": sounding, "held": len(held), "status": status,
            "last_off_ms": round((ended - told) * 1e3, 1) if ended else 1e3,
        }  # fmt: skip
    finally:
        session.kill()
        for port in (ears, keys):
            port.close_port()
            time.sleep(0.06)
            port.delete()


def connect(port: Any, name: str) -> None:
    """Connect to the port that has `name` in its name."""
    deadline = time.perf_counter() + PATIENCE
    while time.perf_counter() < deadline:
        for index, full in enumerate(port.get_ports()):
            if name in full:
                port.open_port(index)
                return
        time.sleep(0.05)
    raise SystemExit(f"there is no port {name!r}")


def listen(ears: Any, held: Held, seconds: float, until: int = 1 << 30) -> float | None:
    """Follow what sounds, until so many notes and pedals do; when the last of them ended."""
    end, ended = time.perf_counter() + seconds, None
    while time.perf_counter() < end and len(held) < until:
        message = ears.get_message()
        if message is None:
            time.sleep(0.0005)
            continue
        sounded = len(held)
        held.follow(bytes(message[0]))
        if sounded and not len(held):
            ended = time.perf_counter()
    return ended


if __name__ == "__main__":
    raise SystemExit(main())
