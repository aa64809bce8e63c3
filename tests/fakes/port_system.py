"""A MIDI system in memory whose ports, and which itself, come and go at a test's word.

It is as strict as the real ones are dangerous: a port that is used after it was freed, or freed twice, is an
error that the test sees in `misuse`; `sent_when_gone` counts what was sent although the system had ended.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable

from plugin_bridge.errors import BridgeError
from plugin_bridge.ports.connections import Direction, PortKey
from plugin_bridge.ports.port_system import OpenPort, Present
from plugin_bridge.ports.rtmidi_objects import Virtual
from plugin_bridge.ports.transport import Transport


class FakePort:
    """One open port: what was put in `inbox` is fetched, what is sent lands in `sent`."""

    def __init__(self, system: FakeSystem, direction: Direction, key: PortKey | Virtual) -> None:
        self.system, self.direction, self.key = system, direction, key
        self.inbox: deque[bytes] = deque()
        self.sent: list[bytes] = []
        self.freed = self.refuses = self.forgotten = False
        self.given = 0

    def get_message(self) -> tuple[list[int], float] | None:
        if self.freed:
            self.system.misuse.append(f"fetched from {self.key} after it was freed")
        try:
            return list(self.inbox.popleft()), -1.0  # nobody measured when it came
        except IndexError:
            if self.refuses:
                raise RuntimeError("refused") from None
            return None

    def send_message(self, message: bytes) -> None:
        if self.freed:
            self.system.misuse.append(f"sent to {self.key} after it was freed")
        self.system.sent_when_gone += self.system.gone()
        if self.refuses:
            raise RuntimeError("refused")
        self.sent.append(message)
        self.system.log[self.direction, self.key.name].append(message)
        self.system.sent(self, message)

    def turns(self) -> int | None:
        self.given += 0 if self.forgotten else 100
        return self.given


class FakeSystem:
    """`inputs` and `outputs` are what is there; `up` whether the system is."""

    transport_when_up: Transport = "jack"
    has_virtual: bool = True

    def __init__(self, inputs: Iterable[str] = (), outputs: Iterable[str] = (), up: bool = True) -> None:
        self.inputs, self.outputs, self.up = list(inputs), list(outputs), up
        self.found = False
        self.open_ports: list[FakePort] = []
        self.misuse: list[str] = []
        self.sent_when_gone = 0
        self.log: dict[tuple[str, str], list[bytes]] = {}
        self.locked = threading.Lock()

    @property
    def transport(self) -> Transport:
        return self.transport_when_up if self.found else "loopback"

    def gone(self) -> bool:
        return not (self.up and self.found)

    def find(self) -> str | None:
        self.found = self.up
        return None if self.up else "no MIDI system here"

    def look(self) -> Present:
        return Present(tuple(self.inputs), tuple(self.outputs))

    def open(self, direction: Direction, port: Virtual | PortKey) -> OpenPort:
        names = self.inputs if direction == "input" else self.outputs
        if isinstance(port, PortKey) and names.count(port.name) <= port.occurrence:
            raise BridgeError(f"{port.name} has just gone")
        opened = FakePort(self, direction, port)
        self.log.setdefault((direction, port.name), [])
        with self.locked:
            self.open_ports.append(opened)
        return opened

    def close(self) -> None:
        """Nothing is held."""

    def free(self, ports: Iterable[OpenPort], *, again: bool = False) -> None:
        for port in ports:
            assert isinstance(port, FakePort)
            if port.freed:
                self.misuse.append(f"{port.key} freed twice")
            port.freed = True
            with self.locked:
                self.open_ports.remove(port)

    def sent(self, port: FakePort, message: bytes) -> None:
        """Something was sent to one of the ports."""

    # what a test does

    def port(self, name: str) -> FakePort | None:
        """The open port called `name`."""
        with self.locked:
            return next((each for each in self.open_ports if each.key.name == name), None)

    def stop(self) -> None:
        """The system ends, as a JACK server that is killed."""
        self.up = self.found = False

    def restart(self) -> None:
        """It is there again."""
        self.up = True
