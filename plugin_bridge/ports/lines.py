"""The open ports of a patchbay: what passes through them, and what sounds on each of them.

Threads: `fetch` belongs to the reader; `send`, `let_go`, `sent`, `of` and `all` to any thread; all else to
the looker, which opens ports before they are added and frees them after they were taken out. `_reading` is
held while inputs are fetched from or taken out, `_sending` while outputs are sent to or taken out.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from plugin_bridge.errors import BridgeError
from plugin_bridge.ports.arrival import ArrivalClock
from plugin_bridge.ports.clock import Clock
from plugin_bridge.ports.connections import Direction, PortKey
from plugin_bridge.ports.held import Held
from plugin_bridge.ports.messages import ACTIVE_SENSING, SYSEX_START, all_off
from plugin_bridge.ports.port_system import OpenPort
from plugin_bridge.ports.rtmidi_objects import Virtual
from plugin_bridge.ports.splitter import Splitter

logger = logging.getLogger(__name__)

SWEEPS = 3
"""How often an output that came is swept, a look apart: a JACK server that overruns loses all of a cycle."""
LEAVING_SECONDS, LEAVING_LOOKS = 0.01, 20
"""How long what was sent last is given to leave, with the system's next cycle, before its port is closed; and
how often at most, where its turn does not come."""
LEAVING_SWEEPS = 2
"""How often more what ends is said then, each time in another cycle: see `SWEEPS`."""


@dataclass(slots=True, eq=False)
class Line:
    """An open port, and what sounds on it. `own` are those of our name. A broken one passes nothing."""

    direction: Direction
    key: PortKey | Virtual
    port: OpenPort
    own: bool
    held: Held = field(default_factory=Held)
    arrival: ArrivalClock = field(default_factory=ArrivalClock)
    splitter: Splitter = field(default_factory=Splitter)
    broken: bool = False
    sweeps: int = 0


class Lines:
    """See the module. `broke` is called when a port has failed, by whichever thread used it."""

    def __init__(self, clock: Clock, broke: Callable[[], None]) -> None:
        self._clock, self._broke = clock, broke
        self._reading, self._sending = threading.Lock(), threading.Lock()
        self._lines: dict[Direction, tuple[Line, ...]] = {"input": (), "output": ()}
        self._ends: list[bytes] = []  # note-offs for what lost inputs held; under `_reading`
        self._sent = 0

    @property
    def sent(self) -> int:
        """How many messages were sent."""
        return self._sent

    def of(self, direction: Direction) -> tuple[Line, ...]:
        """Those of one direction."""
        return self._lines[direction]

    def all(self) -> tuple[Line, ...]:
        """Inputs, then outputs."""
        return self._lines["input"] + self._lines["output"]

    def fetch(self) -> list[tuple[bytes, float]]:
        """The ends of what lost inputs held, and what comes next from each input that has something, as whole
        messages; each with the time in seconds when it came in."""
        with self._reading:
            batch = [(message, self._clock()) for message in self._ends]
            self._ends.clear()
            for line in self._lines["input"]:
                fetched = self._get(line)
                if fetched is None or not fetched[0]:
                    continue
                data, delta = bytes(fetched[0]), fetched[1]
                arrived = line.arrival.stamp(delta, self._clock())
                if data[0] == SYSEX_START:
                    line.arrival.restart()  # its delta counts from its last piece only
                for message in line.splitter.feed(data):
                    if message[0] != ACTIVE_SENSING:
                        line.held.follow(message)
                        batch.append((message, arrived))
        return batch

    def send(self, message: bytes) -> None:
        """Send to every output; SysEx to our own ports only: it is meant for programs that know us."""
        sysex = message[0] == SYSEX_START
        with self._sending:
            for line in self._lines["output"]:
                if not sysex or line.own:
                    self._put(line, message)
            self._sent += 1

    def add(self, line: Line) -> None:
        """It is open. What an earlier life left sounding on an output ends."""
        if line.direction == "output":
            with self._sending:
                self._sweep(line)
                self._lines["output"] = (*self._lines["output"], line)
        else:
            with self._reading:
                self._lines["input"] = (*self._lines["input"], line)

    def sweep(self) -> None:
        """Sweep the outputs that came not long ago once more; see `SWEEPS`."""
        for line in self._lines["output"]:
            if line.sweeps < SWEEPS:
                with self._sending:
                    self._sweep(line)

    def let_go(self) -> None:
        """End what sounds on every output, and sweep them all once more."""
        with self._sending:
            for line in self._lines["output"]:
                for message in line.held.end():
                    self._put(line, message)
                line.sweeps = 0

    def take_out(self, lost: Sequence[Line]) -> None:
        """End what `lost` held. Once this returns, nobody uses them any more."""
        with self._reading:
            self._lines["input"] = tuple(line for line in self._lines["input"] if line not in lost)
            for line in lost:
                self._ends += line.held.end() if line.direction == "input" else []
        outputs = [line for line in lost if line.direction == "output"]
        if not outputs:
            return
        with self._sending:
            self._lines["output"] = tuple(line for line in self._lines["output"] if line not in lost)
            for line in outputs:
                for message in line.held.end():
                    self._put(line, message)
        for _ in range(LEAVING_SWEEPS):
            _let_leave(outputs)
            with self._sending:
                for line in outputs:
                    self._sweep(line)
        _let_leave(outputs)

    def _sweep(self, line: Line) -> None:
        """End what an earlier life left sounding, and nothing that sounds by this one; under `_sending`."""
        line.sweeps += 1
        pedal_up, *offs, notes_off = all_off(0, (p for p in range(128) if not line.held.sounds(0, p)))
        for message in offs if line.held else (pedal_up, *offs, notes_off):
            self._put(line, message)

    def _get(self, line: Line) -> tuple[list[int], float] | None:
        """Fetch from one line. One that fails is replaced at the next look."""
        if line.broken:
            return None
        try:
            return line.port.get_message()
        except (RuntimeError, ValueError, OSError) as error:
            line.broken = True
            self._broke()
            logger.warning("MIDI input %r failed: %s", line.key.name, error)
            return None

    def _put(self, line: Line, message: bytes) -> None:
        """Send on one line. One that fails is replaced at the next look."""
        if line.broken:
            return
        try:
            line.port.send_message(message)
        except (RuntimeError, ValueError, OSError, BridgeError) as error:
            line.broken = True
            self._broke()
            logger.warning("MIDI output %r refused a message: %s", line.key.name, error)
        else:
            line.held.follow(message)


def _let_leave(outputs: Sequence[Line]) -> None:
    """Wait until each had its turn, as far as that shows; a broken one may have none."""
    before = {line: line.port.turns() for line in outputs if not line.broken}
    for _ in range(LEAVING_LOOKS):
        time.sleep(LEAVING_SECONDS)
        if all(turns is None or line.port.turns() != turns for line, turns in before.items()):
            return
