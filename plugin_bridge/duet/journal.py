"""The tape of a session: all that its decisions depend on, so that it can be played again exactly.

The partner is deterministic but for what it is told: what came in and when, what the clock read, and
whether something had come in already. A `Tape` holds these in order; `Live` writes one while the session
runs, `Replayed` reads it back. Readings of the clock are doubles in one array, inputs bytes in another, and
answers other than the usual numbers in a third: an hour of busy playing takes several megabytes.

One thread at a time, the session's worker, uses a world.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

from plugin_bridge.errors import BridgeError
from plugin_bridge.ports.clock import Clock

_HEAD = struct.Struct("<QdBI")  # readings before it, seconds, kind, bytes that follow
LONGEST_TAPE = 64 * 2**20
"""Bytes of a tape. A session that goes on longer can no longer be played again from its start."""


class Source(IntEnum):
    """What an input is."""

    MESSAGE = 0
    """MIDI bytes from the player or the host."""
    CONTROL = 1
    """NAME=VALUE."""
    STYLE = 2
    """A style was asked for, by its folder or name."""
    CAUGHT_UP = 3
    """The engine of a style that was asked for is there, or failed to be."""
    HOST = 4
    """The host's transport, from its link."""


@dataclass(frozen=True, slots=True)
class Input:
    """Something that came in at `time` clock seconds, after `position` readings."""

    position: int
    time: float
    source: Source
    data: bytes


@dataclass(slots=True)
class Tape:
    """What a session was told; the first reading is when it began. `whole` is False when it ran over its
    length and stopped being written; `reached` is when the clock was read last."""

    readings: array[float] = field(default_factory=lambda: array("d"))
    inputs: bytearray = field(default_factory=bytearray)
    signals: array[int] = field(default_factory=lambda: array("q"))
    whole: bool = True
    reached: float = 0.0
    limit: int = LONGEST_TAPE

    def add(self, time: float, source: Source, data: bytes) -> None:
        """Note an input."""
        if self._has_room():
            self.inputs += _HEAD.pack(len(self.readings), time, source, len(data)) + data

    def read(self, value: float) -> None:
        """Note a reading of the clock."""
        if self._has_room():
            self.readings.append(value)
            self.reached = value

    def signal(self, asked: int, value: int) -> None:
        """Note that the question number `asked`, of those that are not about the clock, was answered with
        `value` and not with the usual."""
        if self._has_room():
            self.signals.extend((asked, value))

    def copy(self) -> Tape:
        """The tape as it stands."""
        readings, signals = array("d", self.readings), array("q", self.signals)
        return Tape(readings, bytearray(self.inputs), signals, self.whole, self.reached)

    def each_input(self) -> Iterator[Input]:
        """The inputs in order. BridgeError for a tape that is cut off or damaged."""
        at, before = 0, 0
        while at < len(self.inputs):
            if at + _HEAD.size > len(self.inputs):
                raise BridgeError("the tape ends in the middle of an input")
            position, time, source, length = _HEAD.unpack_from(self.inputs, at)
            at += _HEAD.size
            if not before <= position <= len(self.readings) or source > max(Source):
                raise BridgeError("the tape is damaged: its inputs are out of order")
            if at + length > len(self.inputs):
                raise BridgeError("the tape ends in the middle of an input")
            yield Input(position, time, Source(source), bytes(self.inputs[at : at + length]))
            at, before = at + length, position

    def _has_room(self) -> bool:
        if self.whole and self.size > self.limit:
            self.whole = False
        return self.whole

    @property
    def size(self) -> int:
        """Bytes so far."""
        return 8 * (len(self.readings) + len(self.signals)) + len(self.inputs)


class World(Protocol):
    """What decisions depend on beside the inputs."""

    def now(self) -> float:
        """The clock, seconds."""

    def interrupted(self) -> bool:
        """Whether something has come in that waits to be heard."""

    def late(self) -> int:
        """How many notes were too late to be played, so far."""


class Live:
    """The world as it is, written to `tape`. `waiting` says whether something has come in, `late` how many
    notes were too late so far."""

    def __init__(
        self, clock: Clock, waiting: Callable[[], bool], late: Callable[[], int], tape: Tape
    ) -> None:
        self._clock, self._waiting, self._late, self._tape = clock, waiting, late, tape
        self._asked = 0
        self._told = 0

    def now(self) -> float:
        time = self._clock()
        self._tape.read(time)
        return time

    def interrupted(self) -> bool:
        waiting = self._waiting()
        if waiting:
            self._tape.signal(self._asked, 1)
        self._asked += 1
        return waiting

    def late(self) -> int:
        count = self._late()
        if count != self._told:
            self._tape.signal(self._asked, count)
            self._told = count
        self._asked += 1
        return count


class Replayed:
    """The world as a tape has it. `reached` is told each time the clock moves on."""

    def __init__(self, tape: Tape, reached: Callable[[float], None], position: int = 0) -> None:
        self._tape, self._reached = tape, reached
        self.position = position
        signals = tape.signals
        self._signals = dict(zip(signals[::2], signals[1::2], strict=False))
        self._asked = 0
        self._told = 0

    def now(self) -> float:
        if self.position >= len(self._tape.readings):
            raise TapeEnd
        time = self._tape.readings[self.position]
        self.position += 1
        self._reached(time)
        return time

    def interrupted(self) -> bool:
        self._asked += 1
        return self._asked - 1 in self._signals

    def late(self) -> int:
        self._told = self._signals.get(self._asked, self._told)
        self._asked += 1
        return self._told


class TapeEnd(Exception):  # noqa: N818 - where a session was stopped, its tape ends
    """There are no more readings."""
