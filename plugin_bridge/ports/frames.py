"""What the daemon and its port keeper say to each other: frames of a length and a kind. Pure.

A frame is a kind (one byte), the length of what follows (four bytes, little endian), and that: for MIDI the
time of the program's clock (eight bytes) and one whole message, else a value as JSON.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Any

import plugin_bridge
from plugin_bridge.ports.connections import DIRECTIONS, Connections, Direction
from plugin_bridge.ports.patch_view import PatchView, PortView

LARGEST = 2**20
_HEAD = struct.Struct("<BI")
_TIME = struct.Struct("<d")


class Kind(IntEnum):
    """What a frame is about."""

    MIDI = 1
    """Either way: a message, and when it came in or was sent."""
    FOLLOW = 2
    """To the keeper: the connections that are wanted."""
    VIEW = 3
    """From the keeper: how its patchbay looks now."""
    ALIVE = 4
    """From the keeper, again and again: it does not hang."""
    LOG = 5
    """From the keeper: a line for the log, as [level, logger, text]."""
    HELLO = 6
    """To a keeper that another daemon started, at first: what it is to be like; see `keeper_words`."""
    END = 7
    """To the keeper: close the ports and end. Without it a line that ends means that the daemon has died."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame."""

    kind: Kind
    body: bytes

    @property
    def midi(self) -> tuple[bytes, float]:
        """The message and its time in seconds."""
        return self.body[_TIME.size :], float(_TIME.unpack_from(self.body)[0])

    @property
    def value(self) -> Any:
        """The value of any other kind."""
        return json.loads(self.body)


class Deframer:
    """Puts the pieces that arrive together again. What is not complete yet waits, and is never acted on."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that `data` completes. ValueError for what no keeper says: the other end is broken."""
        self._pending += data
        found, at = [], 0
        while len(self._pending) - at >= _HEAD.size:
            kind, length = _HEAD.unpack_from(self._pending, at)
            if length > LARGEST:
                raise ValueError(f"a frame of {length} bytes")
            end = at + _HEAD.size + length
            if len(self._pending) < end:
                break
            found.append(Frame(Kind(kind), bytes(self._pending[at + _HEAD.size : end])))
            at = end
        del self._pending[:at]
        return found


def midi_frame(message: bytes, time: float) -> bytes:
    """The frame of a message and its time in seconds of the program's clock."""
    return _HEAD.pack(Kind.MIDI, _TIME.size + len(message)) + _TIME.pack(time) + message


def value_frame(kind: Kind, value: Any = None) -> bytes:
    """The frame of any other kind."""
    body = json.dumps(value).encode()
    return _HEAD.pack(kind, len(body)) + body


def keeper_words(
    transport: str,
    input_name: str,
    output_name: str,
    made: Iterable[Direction] = DIRECTIONS,
    which: Iterable[int] = (0, 0),
) -> tuple[str, ...]:
    """What a keeper is to be like, as it is told at its start and in a HELLO frame: the release, for each may
    say other things here, the transport ("any" or one), the names of input and output, which of the two it
    makes, and which port of such a name each of the others is."""
    release, numbers = plugin_bridge.__version__, " ".join(map(str, which))
    return release, transport, input_name, output_name, " ".join(made), numbers


def connections_from(value: Any) -> Connections:
    """The connections in a FOLLOW frame's value."""
    return Connections(tuple(value["listen"]), tuple(value["play"]))


def view_value(view: PatchView) -> Any:
    """A view as a VIEW frame's value."""
    return asdict(view)


def view_from(value: Any) -> PatchView:
    """The view in a VIEW frame's value."""
    ports = tuple(PortView(**{**each, "patterns": tuple(each["patterns"])}) for each in value["ports"])
    waiting = tuple((direction, pattern) for direction, pattern in value["waiting"])
    return PatchView(value["transport"], ports, waiting, tuple(value["problems"]), value["changes"])
