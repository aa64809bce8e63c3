"""The machine's MIDI system as something that may not be there yet, and that ends.

Threads: all methods belong to the looker's thread of `patchbay`, but for `gone`, which any thread may ask
and which takes microseconds. A port that was opened belongs to who opened it, until `free`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from plugin_bridge.errors import BridgeError
from plugin_bridge.ports.clock import Clock, now
from plugin_bridge.ports.connections import DIRECTIONS, Direction, PortKey
from plugin_bridge.ports.jack_watch import JackWatch, client_marks
from plugin_bridge.ports.names import client_of
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

LOCAL_NAME = "Plugin Bridge"
PATIENT_SECONDS = 15.0
"""How long a JACK server that shows may take to answer. One whose client was killed can take five seconds,
and giving up on it kills another client."""
LIST_SECONDS = 1.5
"""How often JACK is asked for its ports while no client comes or goes: that takes two milliseconds of a core,
and only shows ports that a client which was there before has made."""
BLIND_SECONDS = 30.0
"""How often a JACK server that shows no socket is asked for, which takes a child process."""


class OpenPort(Protocol):
    """A port of the system's, as RtMidi has it."""

    def get_message(self) -> tuple[list[int], float] | None:
        """The oldest message that has not been fetched, and the seconds since the one before it."""

    def send_message(self, message: bytes) -> None:
        """Send one message."""

    def turns(self) -> int | None:
        """How often the system has given it its turn so far, roughly (see `turns`); None where that is not
        shown."""


@dataclass(frozen=True, slots=True)
class Present:
    """Full names of the ports that can be opened now."""

    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()

    def names(self, direction: Direction) -> tuple[str, ...]:
        """Those of one direction."""
        return self.inputs if direction == "input" else self.outputs


class PortSystem(Protocol):
    """What the patchbay needs of a MIDI system."""

    @property
    def transport(self) -> Transport:
        """How ports are reached; "loopback" while there is no MIDI system."""

    @property
    def has_virtual(self) -> bool:
        """Whether ports of our own can be made."""

    def gone(self) -> bool:
        """Whether there is none, or the one that was found has ended, or wants nothing more of us."""

    def find(self) -> str | None:
        """Look for a MIDI system; why there is none, or None."""

    def look(self) -> Present:
        """What is there. BridgeError when asking fails."""

    def open(self, direction: Direction, port: Virtual | PortKey) -> OpenPort:
        """Open a port. BridgeError says why not."""

    def free(self, ports: Iterable[OpenPort]) -> None:
        """Close ports, which must not be used any more. After a loss too."""


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
        self._scouts: list[_RtmidiPort] = []  # closed ones, which list ports
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
        self._shut_out = any(each.shut_out() for each in self._opened)
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
            inputs, outputs = (
                tuple(
                    name for name in names_of(self._asked(each)) if name and client_of(name) not in replaced
                )
                for each in ("input", "output")
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
            open_port(opened, chosen, direction, errors)
        except BaseException:
            self._delete([opened])
            raise
        self._opened.append(found)
        self._dismiss([each for each in self._scouts if each.direction == direction])
        return found

    def free(self, ports: Iterable[OpenPort]) -> None:
        """Close ports, which must not be used any more."""
        freed = [each for each in self._opened if each in list(ports)]
        self._opened = [each for each in self._opened if each not in freed]
        self._delete([each.port for each in freed])

    def close(self) -> None:
        """Give back what the system itself holds."""
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
                return each
        errors = ErrorLog()
        before = own_threads()
        port = new_port(self._transport, direction, Virtual(local), errors)
        began = own_threads() - before if self._transport == "jack" else None
        return _RtmidiPort(direction, local, port, errors, ClientThreads(began) if began else None)

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
        for port in ports:
            with contextlib.suppress(RuntimeError, OSError):
                port.close_port()
        if ports and self._transport == "jack":
            time.sleep(JACK_SETTLE_SECONDS)
        for port in ports:
            port.delete()
