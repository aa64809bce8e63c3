"""Ports that come and go behind one pair that stays: the virtual ports, and all that saved patterns mean.

To a session this is a pair of ports that is not lost with a device. Messages of every input come in merged;
what is sent goes to every output. When an input is lost, the notes and pedals that it held are ended for the
session. When an output comes, now or again, it is swept: whatever an earlier life left sounding there ends.
The rest goes on meanwhile. A port that fails, or that JACK has forgotten (see `turns`), is opened again.
A patchbay waits for a MIDI system, and lives no longer than the one it found: libjack freezes now and then
when it is used beyond its server, so a process has one server (see `keeper`).

Threads: the reader fetches messages and calls the callback: a thousand times a second while music plays, and
seldom when nothing has come or gone for a while (`POLLS`), so that waiting costs little. The first note after
a silence is seen, and may be dated, so much later; those after it are dated exactly (see `arrival`).
The looker looks at the MIDI system and opens and frees ports, which may take as long as the system takes.
What both and senders share are `Lines`. All public methods may be called from any thread, and wait for no
more than a `send` in progress; `close` joins both threads.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType

from plugin_bridge.errors import BridgeError
from plugin_bridge.ports.clock import Clock, now
from plugin_bridge.ports.connections import (
    DIRECTIONS,
    Connections,
    Direction,
    PortKey,
    keys_of,
    matches,
    pattern_of,
    wanted,
)
from plugin_bridge.ports.delivery import Delivery
from plugin_bridge.ports.lines import Line, Lines
from plugin_bridge.ports.patch_view import PatchView, Side, view_of
from plugin_bridge.ports.port_system import LOCAL_NAME, PortSystem, Present
from plugin_bridge.ports.priority import ask_for_favour, ask_for_realtime
from plugin_bridge.ports.problems import Problems
from plugin_bridge.ports.rtmidi_objects import Virtual
from plugin_bridge.ports.transport import Transport
from plugin_bridge.ports.turns import Turns
from plugin_bridge.ports.wire import MessageCallback, PortStats, check_message

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.4
RESTLESS_SECONDS = 0.15
"""How soon it looks again after something changed, or while something seems wrong."""
POLLS = ((10.0, 0.001), (120.0, 0.025), (float("inf"), 0.05))
"""Up to so many seconds after the last message: seconds between two fetches."""
JOIN_SECONDS = 5.0


class Patchbay:
    """See the module, and `MidiPorts` for the contract; `stats().lost` is always None. Nothing is opened
    until `start`, or the `with` statement. An empty `input_name` or `output_name`: no port of our own there.
    `made` are the directions in which it is a virtual port, as far as the system has some; in the other one
    it is the port of another program: of several with that name, `which` of them, the input's first."""

    def __init__(
        self,
        system: PortSystem,
        input_name: str,
        output_name: str,
        connections: Connections = Connections(),  # noqa: B008 - immutable
        *,
        made: Sequence[Direction] = DIRECTIONS,
        which: Sequence[int] = (0, 0),
        clock: Clock = now,
        changed: Callable[[], None] = lambda: None,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        """`changed` is called by the looker after the view has changed; `ended` when the MIDI system has
        ended, once: nothing is opened, fetched, sent or freed any more."""
        self._changed, self._ended = changed, ended
        self.input_name, self.output_name = input_name, output_name
        self._names: dict[Direction, str] = {"input": input_name, "output": output_name}
        self._made, self._which = made, dict(zip(DIRECTIONS, which, strict=True))
        self._system, self._clock = system, clock
        self._connections = connections
        self._deliver = Delivery(input_name)
        self._present = Present()
        self._problems = Problems()
        self._changes = self._told = 0
        self._found = False
        self._last_traffic = clock()
        self._look = threading.Event()
        self._lines = Lines(clock, broke=self._look.set)
        self._turns: Turns[Line] = Turns(same=lambda line: (line.direction, line.key))
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
        self._problems.try_again()
        self._changes += 1
        self._look.set()

    def listen(self, callback: MessageCallback | None) -> None:
        """Call `callback(message, time)` for each message from now on; None stops that."""
        self._deliver.callback = callback

    def send(self, message: bytes) -> None:
        """Send one whole message to every output that is there. ValueError for what is no message. SysEx
        goes to our own ports only: it is meant for programs that know us."""
        check_message(message)
        if self._closing.is_set():
            raise BridgeError(f"MIDI port {self.output_name!r} is closed")
        self._last_traffic = self._clock()
        if not self._system.gone():  # a libjack client without its server would block for ever
            self._lines.send(message)

    def let_go(self) -> None:
        """End all that sounds: who sent it has gone."""
        if not self._system.gone():
            self._lines.let_go()
            self._look.set()

    def stats(self) -> PortStats:
        """Counts so far."""
        return PortStats(self._deliver.received, self._lines.sent, self._deliver.failed, None)

    def view(self) -> PatchView:
        """What is there, what is connected, and what is wrong."""
        loopback = self.transport == "loopback"  # virtual ones will be there
        sides = {
            direction: Side(
                names=self._present.names(direction),
                patterns=self._connections.patterns(direction),
                connected=frozenset(line.key for line in self._lines.of(direction)),
                virtual=self._names[direction] if self._makes(direction) or loopback else "",
            )
            for direction in DIRECTIONS
        }
        changes = self._changes + self._problems.changes
        return view_of(sides, self._own, self.transport, self._problems.texts(), changes)

    def close(self) -> None:
        """Close all ports, with everything off. Once this returns no callback runs. May be repeated."""
        if threading.current_thread() in self._threads:
            raise RuntimeError("close() may not be called from the input callback")
        self._closing.set()
        self._deliver.callback = None
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
            batch = self._lines.fetch()
            for message, arrived in batch:
                self._deliver(message, arrived)
            time_now = self._clock()
            if batch:
                self._last_traffic = time_now
            else:
                silence = time_now - self._last_traffic
                time.sleep(next(pause for until, pause in POLLS if silence < until))

    # the looker's thread

    def _look_on(self) -> None:
        ask_for_favour()  # who waits for a port that came back waits for this
        while not self._closing.is_set():
            if self._system_ended():
                self._ended()
                return
            restless = True
            try:
                self._turn()
                changes = self._changes + self._problems.changes
                restless = changes != self._told or self._turns.suspects or self._system.gone()
                if changes != self._told:
                    self._told = changes
                    self._changed()
            except Exception:  # whatever a driver does, the next look may go well
                logger.exception("looking after the ports failed; it is tried again")
            if not self._system_ended():
                self._look.wait(RESTLESS_SECONDS if restless else LOOK_SECONDS)
            self._look.clear()
        if not self._system_ended():
            self._drop(self._lines.all())
            self._system.close()

    def _system_ended(self) -> bool:
        return self._found and self._system.gone()

    def _turn(self) -> None:
        """Look for a MIDI system, look at what is there, open what is wanted."""
        system = self._system
        if system.gone():
            problem = system.find()
            if problem is not None:
                self._problems.add(None, problem, self._clock())
                return
            self._found = True
            logger.info("MIDI goes through %s", system.transport)
        try:
            present = system.look()
        except BridgeError as error:
            self._problems.add(None, str(error), self._clock())
            return
        self._problems.solved(None)
        if present != self._present:
            self._present = present
            self._changes += 1
        self._lines.sweep()
        for direction in DIRECTIONS:
            self._look_after(direction, present.names(direction))
        self._miss_turns()

    def _look_after(self, direction: Direction, names: Sequence[str]) -> None:
        name, patterns = self._names[direction], self._connections.patterns(direction)
        meant: set[PortKey | Virtual] = set(wanted(patterns, names, self._own))
        if name and not self._makes(direction):  # another's port of our name takes the place of our own
            alike = wanted([pattern_of(name)], names, self._own)
            inorder = [key for key in keys_of(names) if key in alike]
            meant.update(inorder[self._which[direction] :][:1] or inorder[-1:])
        if name and self._makes(direction):
            meant.add(Virtual(name))
        lines = self._lines.of(direction)
        self._drop([line for line in lines if line.broken or line.key not in meant])
        there = {line.key for line in self._lines.of(direction)}
        for key in sorted(meant - there, key=lambda each: (isinstance(each, PortKey), each.name)):
            if not self._problems.left_alone((direction, key), self._clock()):
                self._open(direction, key)
        self._problems.keep(direction, meant)

    def _open(self, direction: Direction, key: PortKey | Virtual) -> None:
        try:
            line = Line(direction, key, self._system.open(direction, key), self._is_ours(direction, key))
        except BridgeError as error:
            self._problems.add((direction, key), str(error), self._clock())
            return
        self._lines.add(line)
        self._problems.solved((direction, key))
        self._changes += 1
        logger.info("%s %r is connected", direction, key.name)

    def _miss_turns(self) -> None:
        """A port that the system has forgotten is as good as lost: it is opened again, at once."""
        counts = {line: turns for line in self._lines.all() if (turns := line.port.turns()) is not None}
        for line in self._turns.forgotten(counts, self._clock()):
            line.broken = True
            self._look.set()
            logger.warning("JACK has forgotten %s %r: it is opened again", line.direction, line.key.name)

    def _drop(self, lost: Sequence[Line]) -> None:
        """Take `lost` out, end what they held, and free them."""
        if not lost:
            return
        self._lines.take_out(lost)
        again = not self._closing.is_set()
        self._system.free([line.port for line in lost if not line.broken], again=again)
        self._system.free([line.port for line in lost if line.broken])
        for line in lost:
            logger.info("%s %r is not connected any more", line.direction, line.key.name)
        self._changes += 1

    def _makes(self, direction: Direction) -> bool:
        return self._system.has_virtual and direction in self._made

    @property
    def _own(self) -> tuple[str, ...]:
        """How the names of our own ports begin, where we have some."""
        made = [self._names[each] for each in DIRECTIONS if self._makes(each)]
        return (LOCAL_NAME, *made) if self._system.has_virtual else ()

    def _is_ours(self, direction: Direction, key: PortKey | Virtual) -> bool:
        return isinstance(key, Virtual) or matches(pattern_of(self._names[direction]), key.name)
