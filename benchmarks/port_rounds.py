"""Ports that are lost and come back, in random order: a keyboard, a synthesizer, and the JACK server itself.

    python benchmarks/port_rounds.py --rounds 200 [--json]

Starts a JACK server of its own without hardware (jackd must be installed). A partner's ports play all the
while. The keyboard and the synthesizer are clients in a process of their own, which ends in the
middle of notes. A round is over when everything is connected again. Judged is what the synthesizer
got and what the partner heard: a note left sounding is a hung note. Exit status 1 when a round fails.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from fakes.jack import JackServer, start_jack, stop_jack

from plugin_bridge.ports.connections import Connections
from plugin_bridge.ports.held import Held
from plugin_bridge.ports.patchbay import Patchbay
from plugin_bridge.ports.port_system import RtmidiSystem

PATIENCE = 15.0

_DEVICE = """
import signal, sys, time, rtmidi
kind, name = sys.argv[1:]
port = (rtmidi.MidiOut if kind == "keys" else rtmidi.MidiIn)(rtmidi.API_UNIX_JACK, name=name)
port.open_virtual_port(name)
going = True

def stop(*_):
    global going
    going = False

signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
pitch = 0
while going:
    if kind == "keys":
        pitch = (pitch + 1) % 128
        port.send_message([0x90, pitch, 64])
        time.sleep(0.02)
        if pitch % 7:  # and some are left for the loss to end
            port.send_message([0x80, pitch, 64])
    else:
        got = port.get_message()
        if got:
            print(bytes(got[0]).hex(), flush=True)
        else:
            time.sleep(0.001)
port.close_port()
time.sleep(0.05)
port.delete()
"""


class Device:
    """A keyboard or a synthesizer in a process of its own."""

    def __init__(self, kind: str, name: str, held: Held) -> None:
        self._held = held
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", _DEVICE, kind, name], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self._process.stdout.readline()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._held.follow(bytes.fromhex(line))

    def leave(self) -> None:
        """Its port vanishes, in the middle of its notes, as that of a device whose plug is pulled. (A client
        that is killed instead holds up jackd itself, and all its clients, for seconds.)"""
        self._process.terminate()
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:  # its server has gone
            self._process.kill()
            self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()


def wait_for(condition: Callable[[], object], seconds: float = PATIENCE) -> float | None:
    """Seconds until `condition` held; None when it did not."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > seconds:
            return None
        time.sleep(0.005)
    return time.monotonic() - began


def main() -> int:
    options = _arguments()
    chance = random.Random(options.seed)  # noqa: S311
    with tempfile.TemporaryDirectory() as folder:
        name = f"pbrounds{os.getpid()}"
        os.environ.update(JACK_DEFAULT_SERVER=name, JACK_NO_START_SERVER="1")
        log = Path(folder) / "jackd.log"
        servers = [start_jack(name, log)]
        try:
            report = play(options.rounds, chance, servers, lambda: start_again(name, log))
        finally:
            stop_jack(servers[-1])
    print(json.dumps(report) if options.json else "\n".join(f"{key}: {report[key]}" for key in report))
    good = report["reconnected"] == report["rounds"] and report["hung_notes"] == 0
    return 0 if good and not report["leaked_threads"] and not report["leaked_handles"] else 1


def start_again(name: str, log: Path) -> JackServer:
    """A server in the place of one that has just been stopped, which may take a while to let go of it."""
    for _ in range(4):
        try:
            return start_jack(name, log)
        except RuntimeError as error:
            problem = error
            time.sleep(1.0)
    raise problem


def play(
    rounds: int, chance: random.Random, servers: list[JackServer], restart: Callable[[], JackServer]
) -> dict[str, object]:
    """All the rounds. The last of `servers` is the one that runs."""
    synth_held, heard = Held(), Held()
    devices = {
        "keys": Device("keys", "Rounds Keys", Held()),
        "synth": Device("synth", "Rounds Synth", synth_held),
    }
    patchbay = Patchbay(
        RtmidiSystem("jack"), "Rounds In", "Rounds Out", Connections(("Rounds Keys",), ("Rounds Synth",))
    )
    patchbay.listen(lambda message, _: heard.follow(message))
    playing = threading.Event()
    player = threading.Thread(target=_play_on, args=(patchbay, playing), daemon=True)

    def whole() -> bool:
        return sum(port.connected for port in patchbay.view().ports) == 4

    times: list[float] = []
    counts: dict[str, int] = {}
    with patchbay:
        assert wait_for(whole) is not None, patchbay.view()
        player.start()
        time.sleep(0.5)
        threads, handles = threading.active_count(), _handles()
        for number in range(rounds):
            what = chance.choice(("keys", "synth", "both", "server"))
            counts[what] = counts.get(what, 0) + 1
            lost = ("keys", "synth") if what in ("both", "server") else (what,)
            if what == "server":
                stop_jack(servers[-1])
            for each in lost:
                devices[each].leave()
            time.sleep(chance.uniform(0.3, 1.0))
            if what == "server":
                servers.append(restart())
            for each in chance.sample(lost, len(lost)):
                held = synth_held if each == "synth" else Held()
                devices[each] = Device(each, f"Rounds {each.title()}", held)
            took = wait_for(whole)
            if took is None:
                print(f"round {number} ({what}): {patchbay.view()}", file=sys.stderr)
                break
            times.append(took)
        time.sleep(0.5)
        leaked = threading.active_count() - threads, _handles() - handles
        playing.set()
        player.join()
        devices["keys"].leave()
        wait_for(lambda: not heard and not synth_held)
        hung = len(heard), len(synth_held)
    devices["synth"].leave()
    ordered = sorted(times)
    return {
        "rounds": rounds, "reconnected": len(times), "hung_notes": sum(hung),
        "hung_at": {"partner": hung[0], "synth": hung[1]},
        "of_each": counts,
        "median_s": round(ordered[len(ordered) // 2], 3) if times else None,
        "slowest_s": round(ordered[-1], 3) if times else None,
        "leaked_threads": max(leaked[0], 0), "leaked_handles": max(leaked[1], 0),
    }  # fmt: skip


def _play_on(patchbay: Patchbay, done: threading.Event) -> None:
    pitch = 0
    while not done.is_set():
        pitch = (pitch + 1) % 128
        patchbay.send(bytes((0x90, pitch, 64)))
        done.wait(0.02)
        patchbay.send(bytes((0x80, pitch, 64)))


def _handles() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="lose ports and get them back, many times")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=6)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
