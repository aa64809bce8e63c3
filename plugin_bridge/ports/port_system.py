"""The MIDI system as something that may not be there yet, and that ends: what the patchbay needs of it.

Threads: all methods belong to the looker's thread of `patchbay`, but for `gone`, which any thread may ask
and which takes microseconds. A port that was opened belongs to who opened it, until `free`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from plugin_bridge.ports.connections import Direction, PortKey
from plugin_bridge.ports.rtmidi_objects import Virtual
from plugin_bridge.ports.transport import Transport

LOCAL_NAME = "Plugin Bridge"


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

    def free(self, ports: Iterable[OpenPort], *, again: bool = False) -> None:
        """Close ports, which must not be used any more. After a loss too. `again`: such a port may well be
        opened again, and the client of one of them be kept for that."""

    def close(self) -> None:
        """Give back what the system itself holds. Nothing is opened any more."""
