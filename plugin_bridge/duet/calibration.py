"""How long MIDI takes from the output to the input: measured through a cable or a loopback, and made up for.

Quiet notes go out, each key and velocity in turn, and are timed as they come in again. The time there and
back is taken as half each way: what is heard is dated earlier by one half, what is played leaves earlier by
the other. Results are kept by the names of the two ports.
"""

from __future__ import annotations

import json
import queue
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TypeAlias

import numpy as np

from plugin_bridge.duet.settings import Delays
from plugin_bridge.errors import BridgeError
from plugin_bridge.files import atomic_path
from plugin_bridge.ports.clock import now
from plugin_bridge.ports.messages import NOTE_OFF, NOTE_ON
from plugin_bridge.ports.wire import MidiPorts

PULSES = 60
GAP = 0.05
"""Seconds between pulses, and a little more each time, so that they fall on no beat of the system's."""
PATIENCE = 1.0
"""Seconds that a pulse is waited for."""
LONGEST = 0.5
"""Seconds of a loop that can be made up for."""
_LOWEST, _KEYS = 36, 48

_Arrived: TypeAlias = "queue.SimpleQueue[tuple[bytes, float]]"


@dataclass(frozen=True, slots=True)
class LoopDelay:
    """Milliseconds from the output to the input: the median, the 95th percentile and the spread between the
    5th and the 95th. `lost` of `sent` pulses did not come back."""

    p50: float
    p95: float
    jitter: float
    sent: int
    lost: int

    @property
    def delays(self) -> Delays:
        """Half of it each way."""
        half = self.p50 / 2000
        return Delays(half, half)


def measure_loop(
    ports: MidiPorts, pause: Callable[[float], object], pulses: int = PULSES, wait: float = 0.0
) -> LoopDelay:
    """Measure over `ports`, whose output leads to their input, or will within `wait` seconds. `pause` sleeps
    so many seconds.

    BridgeError when nothing comes back, when most is lost, or when it takes longer than LONGEST.
    """
    arrived: _Arrived = queue.SimpleQueue()
    ports.listen(lambda message, time: arrived.put((bytes(message), time)))
    sent: dict[tuple[int, int], float] = {}
    lags: list[float] = []
    try:
        _await_connection(ports, arrived, pause, wait)
        for index in range(pulses):
            pitch, velocity = _LOWEST + index % _KEYS, 1 + index % 30
            sent[pitch, velocity] = now()
            ports.send(bytes((NOTE_ON, pitch, velocity)))
            pause(GAP / 2 + 0.0007 * index)
            ports.send(bytes((NOTE_OFF, pitch, 0)))
            pause(GAP / 2)
            lags += _collect(arrived, sent)
            if index == 10 and not lags:
                break  # nobody need wait for the rest
        deadline = now() + PATIENCE
        while sent and now() < deadline:
            pause(0.02)
            lags += _collect(arrived, sent)
    finally:
        ports.listen(None)
        for pitch in range(_LOWEST, _LOWEST + _KEYS):
            ports.send(bytes((NOTE_OFF, pitch, 0)))
    if not lags:
        raise BridgeError(
            f"nothing that left at {ports.output_name!r} came in at {ports.input_name!r}: connect "
            "the two, by a cable or a loopback, and try again"
        )
    if len(lags) < pulses / 2:
        raise BridgeError(f"only {len(lags)} of {pulses} notes came back: mend the connection and try again")
    p5, p95 = (float(value) for value in np.percentile(lags, (5, 95)))
    middle = median(lags)
    if middle > LONGEST:
        raise BridgeError(
            f"the loop takes {middle * 1e3:.0f} ms: too long to play with, look for what delays it"
        )
    return LoopDelay(
        round(middle * 1e3, 3), round(p95 * 1e3, 3), round((p95 - p5) * 1e3, 3), pulses, pulses - len(lags)
    )


def _await_connection(
    ports: MidiPorts,
    arrived: queue.SimpleQueue[tuple[bytes, float]],
    pause: Callable[[float], object],
    wait: float,
) -> None:
    """Wait until anything comes back."""
    end = now() + wait
    while now() < end and arrived.empty():
        ports.send(bytes((NOTE_ON, _LOWEST, 1)))
        ports.send(bytes((NOTE_OFF, _LOWEST, 0)))
        pause(0.25)
    pause(0.25 if wait else 0.0)
    while not arrived.empty():
        arrived.get_nowait()


def _collect(arrived: _Arrived, sent: dict[tuple[int, int], float]) -> list[float]:
    """The times that what has come in by now took."""
    lags = []
    while not arrived.empty():
        message, time = arrived.get_nowait()
        if len(message) == 3 and message[0] & 0xF0 == NOTE_ON and message[2]:
            left = sent.pop((message[1], message[2]), None)
            if left is not None:
                lags.append(time - left)
    return lags


class Calibrations:
    """The file of what was measured, by the names of input and output."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def find(self, input_name: str, output_name: str) -> LoopDelay | None:
        """What was measured for these ports; None where nothing was. BridgeError for a damaged file."""
        return self._read().get(_key(input_name, output_name))

    def keep(self, input_name: str, output_name: str, delay: LoopDelay) -> None:
        """Remember `delay` for these ports."""
        known = self._read() | {_key(input_name, output_name): delay}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(self.path) as temporary:
            text = json.dumps({key: asdict(each) for key, each in known.items()}, indent=1)
            temporary.write_text(text + "\n", encoding="utf-8")

    def _read(self) -> dict[str, LoopDelay]:
        try:
            values = json.loads(self.path.read_text(encoding="utf-8"))
            found = {
                str(key): LoopDelay(
                    float(each["p50"]), float(each["p95"]), float(each["jitter"]), int(each["sent"]),
                    int(each["lost"]),
                )
                for key, each in values.items()
            }  # fmt: skip
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise BridgeError(f"{self.path}: is damaged ({error}); delete it and calibrate again") from None
        if not all(0 <= each.p50 <= LONGEST * 1e3 for each in found.values()):
            raise BridgeError(f"{self.path}: holds a loop that cannot be; delete it and calibrate again")
        return found


def _key(input_name: str, output_name: str) -> str:
    return f"{output_name} -> {input_name}"


def calibrations_path() -> Path:
    """Where calibrations are kept."""
    from platformdirs import user_config_path

    return user_config_path("plugin-bridge", appauthor=False) / "calibration.json"
