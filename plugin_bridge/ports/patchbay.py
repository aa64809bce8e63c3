"""Ports that come and go behind one pair that stays: the virtual ports, and all that saved patterns mean.

To a session this is a pair of ports that is not lost with a device. Messages of every input come in merged;
what is sent goes to every output. When an input is lost, the notes and pedals that it held are ended for the
session. When an output comes, now or again, it is swept: whatever an earlier life left sounding there ends.
The rest goes on meanwhile. A patchbay waits for a MIDI system, and lives no longer than the one it found:
libjack freezes now and then when it is used beyond its server, so a process has one server (see `keeper`).

Threads: the reader fetches messages and calls the callback: a thousand times a second while music plays, and
seldom when nothing has come or gone for a while (`POLLS`), so that waiting costs little. The first note after
a silence is seen, and may be dated, so much later; those after it are dated exactly (see `arrival`).
The looker looks at the MIDI system and opens and frees ports, which may take as long as the system takes.
An open port is shared: `_reading` is held while inputs are fetched from or taken out, `_sending` while
outputs are sent to or taken out; a port is freed only after that. All public methods may be called from any
thread, and wait for no more than a `send` in progress; `close` joins both threads.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TypeAlias

from plugin_bridge.errors import BridgeError
from plugin_bridge.ports.arrival import ArrivalClock
from plugin_bridge.ports.clock import Clock, now
from plugin_bridge.ports.connections import (
    DIRECTIONS,
    Connections,
    Direction,
    PortKey,
    pattern_of,
    wanted,
)
from plugin_bridge.ports.held import Held
from plugin_bridge.ports.messages import ACTIVE_SENSING, SYSEX_START, all_off
from plugin_bridge.ports.patch_view import PatchView, Side, view_of
from plugin_bridge.ports.port_system import LOCAL_NAME, OpenPort, PortSystem, Present
from plugin_bridge.ports.priority import ask_for_realtime
from plugin_bridge.ports.rtmidi_objects import Virtual
from plugin_bridge.ports.transport import Transport
from plugin_bridge.ports.wire import MessageCallback, PortStats, check_message

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.4
RETRY_SECONDS = 1.0
"""How long a port that could not be opened is left alone."""
SWEEPS = 3
"""How often an output that came is swept, a look apart: a JACK server that overruns loses all of a cycle."""
POLLS = ((10.0, 0.001), (120.0, 0.025), (float("inf"), 0.05))
"""Up to so many seconds after the last message: seconds between two fetches."""
LEAVING_SECONDS = 0.01
"""How long what was sent last is given to leave, with the system's next cycle, before its port is closed."""
JOIN_SECONDS = 5.0
_Subject: TypeAlias = tuple[Direction, PortKey | Virtual] | None
"""What a problem is about: a port, or the MIDI system."""


@dataclass(slots=True, eq=False)
class _Line:
    """An open port, and what sounds on it."""

    direction: Direction
    key: PortKey | Virtual
    port: OpenPort
    held: Held = field(default_factory=Held)
    arrival: ArrivalClock = field(default_factory=ArrivalClock)
    broken: bool = False
    sweeps: int = 0


class Patchbay:
    """See the module, and `MidiPorts` for the contract; `stats().lost` is always None. Nothing is opened
    until `start`, or the `with` statement. An empty `input_name` or `output_name`: no virtual port there."""

    def __init__(
        self,
        system: PortSystem,
        input_name: str,
        output_name: str,
        connections: Connections = Connections(),  # noqa: B008 - immutable
        *,
        clock: Clock = now,
        changed: Callable[[], None] = lambda: None,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        """`changed` is called by the looker after the view has changed; `ended` when the MIDI system has
        ended, once: nothing is opened, fetched, sent or freed any more."""
        self._changed, self._ended = changed, ended
        self.input_name, self.output_name = input_name, output_name
        self._system, self._clock = system, clock
        self._connections = connections
        self._callback: MessageCallback | None = None
        self._reading, self._sending = threading.Lock(), threading.Lock()
        self._lines: dict[Direction, tuple[_Line, ...]] = {"input": (), "output": ()}
        self._ends: list[bytes] = []  # note-offs for what lost inputs held; under `_reading`
        self._received = self._sent = self._failed = 0
        self._present = Present()
        self._problems: dict[_Subject, str] = {}
        self._retry: dict[_Subject, float] = {}
        self._changes = self._told = 0
        self._found = False
        self._last_traffic = clock()
        self._look = threading.Event()
        self._closing = threading.Event()
        self._threads: tuple[threading.Thread, ...] = ()

    @property
    def transport(self) -> Transport:
        """How ports are reached now; "loopback" while there is no MIDI system."""
        return self._system.transport

    @property
    def connections(self) -> Connections:
        """The patterns that are followed."""
        return self._connections

    def start(self) -> None:
        """Open what is there, and follow what comes and goes, from now on. Returns at once."""
        self._threads = (
            threading.Thread(target=self._look_on, name="port-looker", daemon=True),
            threading.Thread(target=self._read, name="port-reader", daemon=True),
        )
        for thread in self._threads:
            thread.start()

    def follow(self, connections: Connections) -> None:
        """Connect by these patterns from now on; what they do not mean is let go."""
        if connections == self._connections:
            return
        self._connections = connections
        self._retry.clear()
        self._changes += 1
        self._look.set()

    def listen(self, callback: MessageCallback | None) -> None:
        """Call `callback(message, time)` for each message from now on; None stops that."""
        self._callback = callback

    def send(self, message: bytes) -> None:
        """Send one whole message to every output that is there. ValueError for what is no message. SysEx
        goes to our own ports only: it is meant for programs that know us."""
        check_message(message)
        self._last_traffic = self._clock()
        sysex = message[0] == SYSEX_START
        with self._sending:
            if self._closing.is_set():
                raise BridgeError(f"MIDI port {self.output_name!r} is closed")
            if self._system.gone():  # a libjack client without its server would block for ever
                return
            for line in self._lines["output"]:
                if not sysex or isinstance(line.key, Virtual):
                    self._put(line, message)
            self._sent += 1

    def stats(self) -> PortStats:
        """Counts so far."""
        return PortStats(self._received, self._sent, self._failed, None)

    def view(self) -> PatchView:
        """What is there, what is connected, and what is wrong."""
        virtual = self._system.has_virtual or self.transport == "loopback"  # they will be there
        sides = {
            direction: Side(
                names=self._present.names(direction),
                patterns=self._connections.patterns(direction),
                connected=frozenset(line.key for line in self._lines[direction]),
                virtual=self._name(direction) if virtual else "",
            )
            for direction in DIRECTIONS
        }
        problems = tuple(dict.fromkeys(tuple(self._problems.values())))
        return view_of(sides, self._own, self.transport, problems, self._changes)

    def close(self) -> None:
        """Close all ports, with everything off. Once this returns no callback runs. May be repeated."""
        if threading.current_thread() in self._threads:
            raise RuntimeError("close() may not be called from the input callback")
        with self._sending:
            self._closing.set()
        self._callback = None
        self._look.set()
        for thread in self._threads:
            thread.join(JOIN_SECONDS)
            if thread.is_alive():
                logger.error("the MIDI system does not return: ports are left open")
                return
        self._threads = ()

    def __enter__(self) -> Patchbay:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # the reader's thread

    def _read(self) -> None:
        ask_for_realtime()
        while not self._closing.is_set():
            batch = self._fetch()
            for message, arrived in batch:
                self._deliver(message, arrived)
            time_now = self._clock()
            if batch:
                self._last_traffic = time_now
            else:
                silence = time_now - self._last_traffic
                time.sleep(next(pause for until, pause in POLLS if silence < until))

    def _fetch(self) -> list[tuple[bytes, float]]:
        """The ends of what lost inputs held, and one message of each input that has one."""
        with self._reading:
            batch = [(message, self._clock()) for message in self._ends]
            self._ends.clear()
            for line in self._lines["input"]:
                fetched = self._get(line)
                if fetched is None or not fetched[0]:
                    continue
                message, delta = bytes(fetched[0]), fetched[1]
                arrived = line.arrival.stamp(delta, self._clock())
                if message[0] == SYSEX_START:
                    line.arrival.restart()  # its delta counts from its last piece only
                if message[0] != ACTIVE_SENSING:
                    line.held.follow(message)
                    batch.append((message, arrived))
        return batch

    def _get(self, line: _Line) -> tuple[list[int], float] | None:
        """Fetch from one line. One that fails is replaced at the next look."""
        if line.broken:
            return None
        try:
            return line.port.get_message()
        except (RuntimeError, ValueError, OSError) as error:
            line.broken = True
            self._look.set()
            logger.warning("MIDI input %r failed: %s", line.key.name, error)
            return None

    def _deliver(self, message: bytes, arrived: float) -> None:
        callback = self._callback
        if callback is None:
            return
        self._received += 1
        try:
            callback(message, arrived)
        except Exception:
            self._failed += 1
            logger.exception("the callback of %r failed on %s", self.input_name, message[:16].hex(" "))

    # the looker's thread

    def _look_on(self) -> None:
        while not self._closing.is_set():
            if self._system_ended():
                self._ended()
                return
            try:
                self._turn()
                if self._changes != self._told:
                    self._told = self._changes
                    self._changed()
            except Exception:  # whatever a driver does, the next look may go well
                logger.exception("looking after the ports failed; it is tried again")
            self._look.wait(LOOK_SECONDS)
            self._look.clear()
        if not self._system_ended():
            self._drop([line for direction in DIRECTIONS for line in self._lines[direction]])

    def _system_ended(self) -> bool:
        return self._found and self._system.gone()

    def _turn(self) -> None:
        """Look for a MIDI system, look at what is there, open what is wanted."""
        system = self._system
        if system.gone():
            problem = system.find()
            if problem is not None:
                self._problem(None, problem)
                return
            self._found = True
            logger.info("MIDI goes through %s", system.transport)
        try:
            present = system.look()
        except BridgeError as error:
            self._problem(None, str(error))
            return
        self._solved(None)
        if present != self._present:
            self._present = present
            self._changes += 1
        for line in self._lines["output"]:
            if line.sweeps < SWEEPS:
                with self._sending:
                    self._sweep(line)
        for direction in DIRECTIONS:
            self._look_after(direction, present.names(direction))

    def _look_after(self, direction: Direction, names: Sequence[str]) -> None:
        name, patterns = self._name(direction), self._connections.patterns(direction)
        if name and not self._system.has_virtual:  # a driver's port of our name takes the place of our own
            patterns = (*patterns, pattern_of(name))
        meant: set[PortKey | Virtual] = set(wanted(patterns, names, self._own))
        if name and self._system.has_virtual:
            meant.add(Virtual(name))
        lines = self._lines[direction]
        self._drop([line for line in lines if line.broken or line.key not in meant])
        there = {line.key for line in self._lines[direction]}
        for key in sorted(meant - there, key=lambda each: (isinstance(each, PortKey), each.name)):
            if self._clock() >= self._retry.get((direction, key), 0.0):
                self._open(direction, key)
        for about in list(self._problems):
            if about is not None and about[0] == direction and about[1] not in meant:
                self._solved(about)

    def _open(self, direction: Direction, key: PortKey | Virtual) -> None:
        try:
            line = _Line(direction, key, self._system.open(direction, key))
        except BridgeError as error:
            self._retry[direction, key] = self._clock() + RETRY_SECONDS
            self._problem((direction, key), str(error))
            return
        if direction == "output":
            with self._sending:
                self._sweep(line)
                self._lines["output"] = (*self._lines["output"], line)
        else:
            with self._reading:
                self._lines["input"] = (*self._lines["input"], line)
        self._retry.pop((direction, key), None)
        self._solved((direction, key))
        self._changes += 1
        logger.info("%s %r is connected", direction, key.name)

    def _sweep(self, line: _Line) -> None:
        """End what an earlier life left sounding, and nothing that sounds by this one; under `_sending`."""
        line.sweeps += 1
        pedal_up, *offs, notes_off = all_off(0, (p for p in range(128) if not line.held.sounds(0, p)))
        for message in offs if line.held else (pedal_up, *offs, notes_off):
            self._put(line, message)

    def _drop(self, lost: Sequence[_Line]) -> None:
        """Take `lost` out, end what they held, and free them."""
        if not lost:
            return
        with self._reading:
            self._lines["input"] = tuple(line for line in self._lines["input"] if line not in lost)
            for line in lost:
                self._ends += line.held.end() if line.direction == "input" else []
        with self._sending:
            self._lines["output"] = tuple(line for line in self._lines["output"] if line not in lost)
            for line in lost:
                for message in line.held.end():
                    self._put(line, message)
        outputs = [line for line in lost if line.direction == "output"]
        if outputs:
            time.sleep(LEAVING_SECONDS)
            with self._sending:
                for line in outputs:  # once more, in another cycle; see SWEEPS
                    self._sweep(line)
            time.sleep(LEAVING_SECONDS)
        self._system.free([line.port for line in lost])
        for line in lost:
            logger.info("%s %r is not connected any more", line.direction, line.key.name)
        self._changes += 1

    def _put(self, line: _Line, message: bytes) -> None:
        """Send on one line. One that fails is replaced at the next look."""
        if line.broken:
            return
        try:
            line.port.send_message(message)
        except (RuntimeError, ValueError, OSError, BridgeError) as error:
            line.broken = True
            self._look.set()
            logger.warning("MIDI output %r refused a message: %s", line.key.name, error)
        else:
            line.held.follow(message)

    @property
    def _own(self) -> tuple[str, ...]:
        """How the names of our own ports begin, where we have some."""
        return (LOCAL_NAME, self.input_name, self.output_name) if self._system.has_virtual else ()

    def _name(self, direction: Direction) -> str:
        return self.input_name if direction == "input" else self.output_name

    def _problem(self, about: _Subject, text: str) -> None:
        if self._problems.get(about) != text:
            self._problems[about] = text
            self._changes += 1
            logger.warning("%s", text)

    def _solved(self, about: _Subject) -> None:
        if self._problems.pop(about, None) is not None:
            self._changes += 1
