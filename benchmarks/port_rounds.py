"""Ports that are lost and come back, in random order: a keyboard, a synthesizer, and the JACK server itself.

    python benchmarks/port_rounds.py --rounds 200 [--json]

Starts a JACK server of its own without hardware (jackd must be installed). The daemon's ports, in a keeper's
process as the daemon has them, play all the while. The keyboard and the synthesizer are clients in a process
of their own, which ends in the middle of notes, and is back after 0.05 to 1 s. A round is over when all is
said to be connected and notes pass both ways again. Judged is what the synthesizer got and what the partner
heard: a note left sounding is a hung note. Exit status 1 when a round fails.

Judged are our ports and not jackd: while they are waited for, jack_lsp, a client of JACK's own, asks the
server too. A server that does not answer that one either is killed and started again, with the devices, and
the round goes on; how often is told (`dead_servers`), and so are devices that froze inside libjack.
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
from plugin_bridge.ports.kept_patchbay import KeptPatchbay

PATIENCE = 15.0
ANSWER_SECONDS = 6.0
"""How long a server that lives may take: it buries a client that was killed for five."""

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
    """A keyboard or a synthesizer in a process of its own. TimeoutError when it does not come up."""

    def __init__(self, kind: str, name: str, held: Held) -> None:
        self._held = held
        self.notes = 0
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", _DEVICE, kind, name],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        if not self._ready.wait(ANSWER_SECONDS):
            self.leave()
            raise TimeoutError(name)

    def _read(self) -> None:
        assert self._process.stdout is not None
        if self._process.stdout.readline():
            self._ready.set()
        for line in self._process.stdout:
            message = bytes.fromhex(line)
            self._held.follow(message)
            self.notes += message[0] == 0x90

    def leave(self) -> bool:
        """Its port vanishes, in the middle of its notes, as that of a device whose plug is pulled; whether it
        went by itself. (A client that is killed instead holds up jackd, and all its clients, for seconds.)"""
        self._process.terminate()
        in_order = True
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:  # its server has gone, or it has frozen inside libjack
            self._process.kill()
            self._process.wait()
            in_order = False
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()
        return in_order


class Stage:
    """The JACK server, and the devices on it."""

    def __init__(self, name: str, log: Path) -> None:
        self._name, self._log = name, log
        self.dead_servers = self.frozen_devices = 0
        self.synth_held = Held()
        self.devices: dict[str, Device] = {}
        self._server: JackServer | None = None

    def start_server(self) -> None:
        """Start one, in the place of one that has just been stopped, which may take a while to let go."""
        for attempt in range(4):
            try:
                self._server = start_jack(self._name, self._log)
                return
            except RuntimeError:
                if attempt == 3:
                    raise
                time.sleep(1.0)

    def stop_server(self) -> None:
        """It ends, as when JACK is restarted."""
        if self._server is not None:
            stop_jack(self._server)
            self._server = None

    def add(self, each: str) -> None:
        """The device is plugged in."""
        while each not in self.devices:
            held = self.synth_held if each == "synth" else Held()
            try:
                self.devices[each] = Device(each, f"Rounds {each.title()}", held)
            except TimeoutError:
                self.frozen_devices += 1
                if not self.answers():
                    self.revive()

    def remove(self, each: str) -> None:
        """The device is pulled out."""
        device = self.devices.pop(each, None)
        if device is not None and not device.leave() and self._server is not None:
            self.frozen_devices += 1

    def answers(self) -> bool:
        """Whether the server answers a client of JACK's own."""
        try:
            asked = subprocess.run(["jack_lsp"], capture_output=True, timeout=ANSWER_SECONDS, check=False)  # noqa: S607
        except subprocess.TimeoutExpired:
            return False
        return asked.returncode == 0

    def revive(self) -> None:
        """Another server in the place of a dead one, and the devices on it."""
        self.dead_servers += 1
        there = list(self.devices)
        self.stop_server()
        for each in there:
            self.remove(each)
        self.start_server()
        for each in there:
            self.add(each)

    def close(self) -> None:
        """All of it ends."""
        for each in list(self.devices):
            self.remove(each)
        self.stop_server()


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
        stage = Stage(name, Path(folder) / "jackd.log")
        stage.start_server()
        try:
            report = play(options.rounds, chance, stage)
        finally:
            stage.close()
    print(json.dumps(report) if options.json else "\n".join(f"{key}: {report[key]}" for key in report))
    good = report["reconnected"] == report["rounds"] and report["hung_notes"] == 0
    return 0 if good and not report["leaked_threads"] and not report["leaked_handles"] else 1


def play(rounds: int, chance: random.Random, stage: Stage) -> dict[str, object]:
    """All the rounds."""
    heard = Held()
    times_heard = [0.0]

    def hear(message: bytes, _: float) -> None:
        heard.follow(message)
        if message[0] == 0x90:
            times_heard[0] = time.monotonic()

    for each in ("keys", "synth"):
        stage.add(each)
    patchbay = KeptPatchbay(
        "Rounds In", "Rounds Out", Connections(("Rounds Keys",), ("Rounds Synth",)), "jack"
    )
    patchbay.listen(hear)
    playing = threading.Event()
    player = threading.Thread(target=_play_on, args=(patchbay, playing), daemon=True)

    def whole() -> bool:
        return sum(port.connected for port in patchbay.view().ports) == 4

    def whole_again() -> float | None:
        back = time.monotonic()

        def plays() -> bool:
            return whole() and times_heard[0] > back and stage.devices["synth"].notes > 0

        while (took := wait_for(plays)) is None and not stage.answers():
            stage.revive()
        return took

    times: list[float] = []
    counts: dict[str, int] = {}
    with patchbay:
        player.start()
        assert whole_again() is not None, patchbay.view()
        time.sleep(0.5)
        threads, handles = threading.active_count(), _handles()
        keepers = {patchbay.process}
        for number in range(rounds):
            what = chance.choice(("keys", "synth", "both", "server"))
            counts[what] = counts.get(what, 0) + 1
            lost = ("keys", "synth") if what in ("both", "server") else (what,)
            if what == "server":
                stage.stop_server()
            for each in lost:
                stage.remove(each)
            time.sleep(chance.uniform(0.05, 1.0))
            if what == "server":
                stage.start_server()
            for each in chance.sample(lost, len(lost)):
                stage.add(each)
            took = whole_again()
            if took is None:
                print(f"round {number} ({what}): {patchbay.view()}", file=sys.stderr)
                break
            times.append(took)
            keepers.add(patchbay.process)
        time.sleep(0.5)
        leaked = threading.active_count() - threads, _handles() - handles
        playing.set()
        player.join()
        stage.remove("keys")
        wait_for(lambda: not heard and not stage.synth_held)
        hung = len(heard), len(stage.synth_held)
    ordered = sorted(times)
    return {
        "rounds": rounds, "reconnected": len(times), "hung_notes": sum(hung),
        "hung_at": {"partner": hung[0], "synth": hung[1]},
        "of_each": counts,
        "median_s": round(ordered[len(ordered) // 2], 3) if times else None,
        "slowest_s": round(ordered[-1], 3) if times else None,
        "later_than_2_s": sum(took > 2.0 for took in times),
        "leaked_threads": max(leaked[0], 0), "leaked_handles": max(leaked[1], 0),
        "keepers": len(keepers),
        "dead_servers": stage.dead_servers, "frozen_devices": stage.frozen_devices,
    }  # fmt: skip


def _play_on(patchbay: KeptPatchbay, done: threading.Event) -> None:
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
