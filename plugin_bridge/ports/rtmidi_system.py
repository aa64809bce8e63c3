"""The machine's own MIDI system, as RtMidi reaches it; see `port_system` for the threads.

On JACK each port is a client. Opening and closing one costs the server two cycles, and half a second each
where its cycles are late: so those there are, are used again.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from plugin_bridge.errors import BridgeError
from plugin_bridge.ports.clock import Clock, now
from plugin_bridge.ports.connections import DIRECTIONS, Direction, PortKey
from plugin_bridge.ports.jack_watch import JackWatch, client_marks
from plugin_bridge.ports.names import client_of
from plugin_bridge.ports.port_system import LOCAL_NAME, OpenPort, Present
from plugin_bridge.ports.rtmidi_objects import (
    JACK_SETTLE_SECONDS,
    Chosen,
    ErrorLog,
    Virtual,
    names_of,
    new_port,
    open_port,
    refuse_taken_name,
)
from plugin_bridge.ports.transport import Probes, Transport, jack_problem, rtmidi_problem
from plugin_bridge.ports.turns import ClientThreads, own_threads

logger = logging.getLogger(__name__)

PATIENT_SECONDS = 15.0
"""How long a JACK server that shows may take to answer. One whose client was killed can take five seconds,
and giving up on it kills another client."""
LIST_SECONDS = 1.5
"""How often JACK is asked for its ports while no client comes or goes: that takes two milliseconds of a core,
and only shows ports that a client which was there before has made."""
SLOW_SECONDS = 0.5
"""What takes the system longer than this is told in the log: no note passes meanwhile, for RtMidi waits with
Python's lock held."""
BLIND_SECONDS = 30.0
"""How often a JACK server that shows no socket is asked for, which takes a child process."""


@dataclass(frozen=True, slots=True, eq=False)
class _RtmidiPort:
    """A port of RtMidi's, which tells its errors on the side: here they are raised. `local` is the name that
    its client asked for."""

    direction: Direction
    local: str
    port: Any
    errors: ErrorLog
    threads: ClientThreads | None

    def get_message(self) -> tuple[list[int], float] | None:
        found: tuple[list[int], float] | None = self.port.get_message()
        return found

    def send_message(self, message: bytes) -> None:
        self.port.send_message(message)
        self.errors.raise_for("it reports")

    def turns(self) -> int | None:
        return None if self.threads is None else self.threads.turns()

    def forget(self) -> None:
        """Forget what came in, and went wrong, in an earlier use."""
        while self.direction == "input" and self.port.get_message() is not None:
            pass
        self.errors.forget()

    def shut_out(self) -> bool:
        """Whether JACK wants nothing more of it."""
        return self.threads is not None and self.threads.shut_out()


class RtmidiSystem:
    """The machine's own. `wanted` is the one transport to use; None: the first there is. `names` are those of
    the virtual ports to come, the input's and the output's: what lists the ports at first becomes them. Each
    client that JACK has to open and to close again costs it two cycles, and on a machine whose JACK is late
    half a second each."""

    def __init__(
        self,
        wanted: Transport | None = None,
        probes: Probes | None = None,
        clock: Clock = now,
        names: tuple[str, str] = ("", ""),
    ) -> None:
        self._wanted, self._clock = wanted, clock
        self._names = dict(zip(DIRECTIONS, names, strict=True))
        self._probes = probes or Probes(jack=partial(jack_problem, PATIENT_SECONDS))
        self._transport: Transport = "loopback"
        self._watch: JackWatch | None = None
        self._opened: list[_RtmidiPort] = []
        self._scouts: list[_RtmidiPort] = []  # closed ones, which list ports and wait for their next use
        self._blind_next = self._list_next = 0.0
        self._marks: dict[str, int] = {}
        self._present = Present()
        self._shut_out = False

    @property
    def transport(self) -> Transport:
        """How ports are reached; "loopback" while there is no MIDI system."""
        return self._transport

    @property
    def has_virtual(self) -> bool:
        """Whether ports of our own can be made: not on Windows."""
        return self._transport not in ("winmm", "loopback")

    def gone(self) -> bool:
        """Whether there is none, or the JACK server that was found has ended, or shut us out."""
        watch = self._watch
        return self._transport == "loopback" or self._shut_out or (watch is not None and watch.gone())

    def find(self) -> str | None:
        """Look for a MIDI system; why there is none, or None. Takes microseconds while there is none, and
        a child process once a JACK server shows."""
        self._forget()
        problem = rtmidi_problem()
        if problem is not None:
            return f"{problem}: reinstall python-rtmidi"
        platform = {"darwin": "coremidi", "win32": "winmm"}.get(self._probes.platform)
        if platform is not None:
            self._transport = "coremidi" if platform == "coremidi" else "winmm"
            return None
        refused = []
        questions: tuple[tuple[Transport, Callable[[], str | None]], ...] = (
            ("alsa", self._probes.alsa), ("jack", self._find_jack),
        )  # fmt: skip
        for transport, question in questions:
            if self._wanted not in (None, transport):
                continue
            problem = question()
            if problem is None:
                self._transport = transport
                return None
            refused.append(f"{transport}: {problem}")
        return "no MIDI system here: " + "; ".join(refused)

    def look(self) -> Present:
        """What is there. BridgeError when asking fails. A client of JACK's that has gone and come back under
        the same name since the last look is left out once, so that what was connected to it is let go."""
        self._shut_out = any(each.shut_out() for each in (*self._opened, *self._scouts))
        if self._shut_out:
            raise BridgeError("JACK has shut this program out")
        marks = client_marks() if self._transport == "jack" else {}
        if marks and marks == self._marks and self._clock() < self._list_next:
            return self._present
        known = {client_of(name) for direction in DIRECTIONS for name in self._present.names(direction)}
        replaced = {each for each in known & marks.keys() if marks[each] != self._marks.get(each)}
        self._marks = marks
        self._list_next = 0.0 if replaced else self._clock() + LIST_SECONDS
        try:
            with self._timed("list the ports"):
                inputs, outputs = (
                    tuple(
                        each
                        for each in names_of(self._asked(direction))
                        if each and client_of(each) not in replaced
                    )
                    for direction in DIRECTIONS
                )
        except (RuntimeError, ValueError, OSError) as error:
            self._list_next = 0.0
            raise BridgeError(f"the MIDI ports cannot be listed: {error}") from error
        self._present = Present(inputs, outputs)
        return self._present

    def open(self, direction: Direction, port: Virtual | PortKey) -> OpenPort:
        """Open a port. BridgeError says why not."""
        found = self._new(direction, port.name if isinstance(port, Virtual) else LOCAL_NAME)
        opened, errors = found.port, found.errors
        try:
            if isinstance(port, Virtual):
                refuse_taken_name(port, self._asked("output" if direction == "input" else "input"))
                chosen: Virtual | Chosen = port
            else:
                chosen = Chosen(port.name, port.occurrence, LOCAL_NAME)
            if direction == "input":
                opened.ignore_types(sysex=False, timing=False, active_sense=False)
            with self._timed(f"open {direction} {port.name!r}"):
                open_port(opened, chosen, direction, errors)
        except BaseException:
            self._delete([opened])
            raise
        self._opened.append(found)
        self._dismiss([each for each in self._scouts if each.direction == direction])
        return found

    def free(self, ports: Iterable[OpenPort], *, again: bool = False) -> None:
        """Close ports, which must not be used any more. `again`: of those of other programs and of devices,
        which come back, one client in each direction is kept on JACK: then nothing of what comes back waits
        for a client to be opened, nor is there one that is closed while others are, of which jackd's clients
        learn late on a busy machine."""
        these = list(ports)
        freed = [each for each in self._opened if each in these]
        self._opened = [each for each in self._opened if each not in freed]
        for direction in DIRECTIONS if again and self._transport == "jack" else ():
            resting = [each for each in self._scouts if each.direction == direction]
            may_rest = [each for each in freed if (each.direction, each.local) == (direction, LOCAL_NAME)]
            if may_rest and not resting:
                freed.remove(may_rest[0])
                self._rest(may_rest[0])
        self._delete([each.port for each in freed])

    def close(self) -> None:
        """Give back what the system itself holds. Nothing is opened any more."""
        self._forget()

    def _find_jack(self) -> str | None:
        """Ask cheaply whether a server listens, and only then with a client, in a child process: libjack
        waits without end for a server that was stopped."""
        self._watch = JackWatch.of_running_server()
        if self._watch is None:
            if self._clock() < self._blind_next:
                return "no JACK server answers"
            self._blind_next = self._clock() + BLIND_SECONDS
        problem = self._probes.jack()
        if problem is None and self._watch is None:  # it came up just now; unwatched, its end would block us
            self._watch = JackWatch.of_running_server()
        if problem is not None and self._watch is not None:
            self._watch.close()
            self._watch = None
        return problem

    def _asked(self, direction: Direction) -> Any:
        """An object that can list the ports of `direction`: one that is open, or a scout."""
        for each in self._opened:
            if each.direction == direction:
                return each.port
        for each in self._scouts:
            if each.direction == direction:
                return each.port
        scout = self._new(direction, self._names[direction] or LOCAL_NAME)
        self._scouts.append(scout)
        return scout.port

    def _new(self, direction: Direction, local: str) -> _RtmidiPort:
        """A closed port: the scout of this name, or another client."""
        for each in self._scouts:
            if (each.direction, each.local) == (direction, local):
                self._scouts.remove(each)
                each.forget()
                return each
        errors = ErrorLog()
        before = own_threads()
        with self._timed(f"begin client {local!r}"):
            port = new_port(self._transport, direction, Virtual(local), errors)
        began = own_threads() - before if self._transport == "jack" else None
        return _RtmidiPort(direction, local, port, errors, ClientThreads(began) if began else None)

    def _rest(self, port: _RtmidiPort) -> None:
        """Close a port, and keep its client."""
        with self._timed("close a port"), contextlib.suppress(RuntimeError, OSError):
            port.port.close_port()
        self._scouts.append(port)

    def _dismiss(self, scouts: list[_RtmidiPort]) -> None:
        """Free scouts, whose place an open port takes: on JACK each is a client, woken in every cycle."""
        self._scouts = [each for each in self._scouts if each not in scouts]
        self._delete([each.port for each in scouts])

    def _forget(self) -> None:
        self._list_next, self._shut_out = 0.0, False
        self._dismiss(self._scouts)
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        self._transport = "loopback"

    def _delete(self, ports: list[Any]) -> None:
        """Close all, wait once for JACK's graph to settle, and free them; see `free_port`."""
        with self._timed(f"close {len(ports)} ports"):
            for port in ports:
                with contextlib.suppress(RuntimeError, OSError):
                    port.close_port()
        if ports and self._transport == "jack":
            time.sleep(JACK_SETTLE_SECONDS)
        with self._timed(f"end {len(ports)} clients"):
            for port in ports:
                port.delete()

    @contextlib.contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        began = self._clock()
        yield
        took = self._clock() - began
        if took > SLOW_SECONDS:
            logger.info("the MIDI system took %.1f s to %s", took, what)
