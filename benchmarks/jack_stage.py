"""A JACK server without hardware, with a keyboard and a synthesizer on it that are plugged in and pulled out.

None of them is the program's, and each fails in ways of its own on a busy machine: a device freezes inside
libjack, jackd forgets a client or stops calling anybody. Who stands still is told by how often its threads
had a turn, as `plugin_bridge.ports.turns` does. It is begun anew then, as a musician would, and counted.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from fakes.jack import JackServer, start_jack, stop_jack

from plugin_bridge.ports.held import Held
from plugin_bridge.ports.turns import SHARE, ClientThreads, sleeps

ANSWER_SECONDS = 6.0
"""How long a server that lives may take: it buries a client that was killed for three to five."""
LOOK_SECONDS = 1.0
CALLED = 10
"""How often whoever runs at all runs in that time."""
ECHOES = 64
"""Notes from this pitch on are the partner's answers to the keyboard, which plays those below."""

_DEVICE = """
import signal, sys, time, rtmidi
kind, name = sys.argv[1:]
began = time.monotonic()
port = (rtmidi.MidiOut if kind == "keys" else rtmidi.MidiIn)(rtmidi.API_UNIX_JACK, name=name)
port.open_virtual_port(name)
going = True

def stop(*_):
    global going
    going = False

signal.signal(signal.SIGTERM, stop)
print("ready", time.monotonic() - began, flush=True)
pitch = 0
while going:
    if kind == "keys":
        pitch = (pitch + 1) % 64
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
    """A keyboard or a synthesizer in a process of its own. TimeoutError when it does not come up. `held`
    follows what a synthesizer gets. `began`: seconds until JACK had made its client and port."""

    def __init__(self, kind: str, name: str, held: Held) -> None:
        self._held = held
        self.echoed_at = self.began = 0.0
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", _DEVICE, kind, name],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        self._ready = threading.Event()
        self._called = ClientThreads(())
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        if not self._ready.wait(ANSWER_SECONDS):
            self.leave()
            raise TimeoutError(name)
        own = self._process.pid
        self._called = ClientThreads(set(threads_of(own)) - {own}, Path(f"/proc/{own}/task"))

    def _read(self) -> None:
        assert self._process.stdout is not None
        if words := self._process.stdout.readline().split():
            self.began = float(words[1])
            self._ready.set()
        for line in self._process.stdout:
            message = bytes.fromhex(line)
            self._held.follow(message)
            if message[0] == 0x90 and message[1] >= ECHOES:
                self.echoed_at = time.monotonic()

    def turns(self) -> tuple[int, int]:
        """How often its own thread has run so far, and how often JACK has called it."""
        return _turns(self._process.pid, [self._process.pid]), self._called.turns() or 0

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
    """The server, and the devices on it. `begun_anew` counts what had to be, and why; `began` has how long
    JACK took for each device's client."""

    def __init__(self, name: str, log: Path, *, waits: bool) -> None:
        self._name, self._log, self._waits = name, log, waits
        self.begun_anew: Counter[str] = Counter()
        self.began: list[float] = []
        self.synth_held = Held()
        self.devices: dict[str, Device] = {}
        self._server: JackServer | None = None

    def start_server(self) -> None:
        """Start one, in the place of one that has just been stopped, which may take a while to let go."""
        for attempt in range(4):
            try:
                self._server = start_jack(self._name, self._log, waits=self._waits)
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
                self.began.append(round(self.devices[each].began, 2))
            except TimeoutError:
                if self._answers():
                    self.begun_anew[f"{each}: did not come up"] += 1
                else:
                    self._revive("did not answer")

    def remove(self, each: str) -> None:
        """The device is pulled out."""
        device = self.devices.pop(each, None)
        if device is None or device.leave() or self._server is None:
            return
        self.begun_anew[f"{each}: did not leave and was killed"] += 1
        if not self._answers():  # it buries the device first
            self._revive("did not answer")

    def mend(self) -> str | None:
        """Begin what stands still anew: the server, or a device; which, or None where all of them run."""
        before = self._turns()
        time.sleep(LOOK_SECONDS)
        after = self._turns()
        server = max(after["server"][0] - before["server"][0], 0)
        if server < CALLED or not self._answers():
            self._revive("called nobody" if server < CALLED else "did not answer")
            return "server"
        for each in list(self.devices):
            own, jack = (now - then for now, then in zip(after[each], before[each], strict=True))
            if own >= CALLED and jack >= SHARE * server:
                continue
            self.begun_anew[f"{each}: " + ("frozen" if own < CALLED else "forgotten by jackd")] += 1
            self.remove(each)
            self.add(each)
            return each
        return None

    def close(self) -> None:
        """All of it ends."""
        for each in list(self.devices):
            self.remove(each)
        self.stop_server()

    def _turns(self) -> dict[str, tuple[int, ...]]:
        assert self._server is not None
        process = self._server.process.pid
        return {"server": (_turns(process, threads_of(process)),)} | {
            each: device.turns() for each, device in self.devices.items()
        }

    def _answers(self) -> bool:
        """Whether the server answers a client of JACK's own."""
        try:
            asked = subprocess.run(["jack_lsp"], capture_output=True, timeout=ANSWER_SECONDS, check=False)  # noqa: S607
        except subprocess.TimeoutExpired:
            return False
        return asked.returncode == 0

    def _revive(self, why: str) -> None:
        """Another server in the place of a dead one, and the devices on it."""
        self.begun_anew[f"server: {why}"] += 1
        there = list(self.devices)
        self.stop_server()
        for each in there:
            self.remove(each)
        self.start_server()
        for each in there:
            self.add(each)


def threads_of(process: int) -> list[int]:
    """Its threads, its own first; none when it has ended."""
    try:
        return sorted(int(each.name) for each in Path(f"/proc/{process}/task").iterdir())
    except OSError:
        return []


def handles_of(process: int) -> int:
    """How many handles it has open."""
    try:
        return len(list(Path(f"/proc/{process}/fd").iterdir()))
    except OSError:
        return 0


def _turns(process: int, threads: list[int]) -> int:
    """How often the busiest of these threads has slept so far."""
    return max((sleeps(Path(f"/proc/{process}/task/{each}")) for each in threads), default=0)
