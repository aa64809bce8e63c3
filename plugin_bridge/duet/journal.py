"""The tape of a session: all that its decisions depend on, so that it can be played again exactly.

The partner is deterministic but for what it is told: what came in and when, what the clock read, and
whether something had come in already. A `Tape` holds these in order; `Live` writes one while the session
runs, `Replayed` reads it back. Time is counted in ticks of about a microsecond, and each number is written
as what it differs from the one before it (`Differences`): an hour of busy playing takes about two megabytes.

One thread at a time, the session's worker, uses a world.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

from plugin_bridge.duet.differences import Differences, read_number, write_number
from plugin_bridge.duet.packed import Packed
from plugin_bridge.errors import BridgeError
from plugin_bridge.ports.clock import Clock

TICKS = 2**20
"""Ticks a second: a power of two, so that a number of ticks is a float of seconds and back, exactly."""
LONGEST_TAPE = 32 * 2**20
"""Bytes of a tape. A session that goes on longer can no longer be played again from its start."""


def next_tick(time: float) -> int:
    """The tick that `time` (seconds) falls on, or the next: never before something that has happened."""
    return math.ceil(time * TICKS)


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
    """What a session was told. `readings` are the clock's, in ticks, the first when it began; `inputs` hold
    for each what changed since the one before (readings, then ticks), its source, its length, its bytes;
    `signals` pairs of a question and its answer. `whole` is False when it ran over its length and stopped
    being written; `reached` is when the clock was read last, in seconds."""

    readings: Differences = field(default_factory=Differences)
    inputs: Packed = field(default_factory=Packed)
    signals: array[int] = field(default_factory=lambda: array("q"))
    whole: bool = True
    reached: float = 0.0
    limit: int = LONGEST_TAPE
    _position: int = 0
    _tick: int = 0

    def add(self, time: float | None, source: Source, data: bytes) -> float:
        """Note an input that came at `time`; the time to go by (None: it has none, and 0 is returned)."""
        tick = self._tick if time is None else next_tick(time)
        if self._has_room():
            position = len(self.readings)
            row = bytearray()
            for number in (position - self._position, tick - self._tick, source, len(data)):
                write_number(row, number)
            self.inputs.open.extend(row + data)  # at once, for whoever copies
            self.inputs.settle()
            self._position, self._tick = position, tick
        return 0.0 if time is None else tick / TICKS

    def read(self, time: float) -> float:
        """Note that the clock read `time`; the time to go by."""
        tick = next_tick(time)
        if self._has_room():
            self.readings.append(tick)
            self.reached = tick / TICKS
        return tick / TICKS

    def signal(self, asked: int, value: int) -> None:
        """Note that the question number `asked`, of those that are not about the clock, was answered with
        `value` and not with the usual."""
        if self._has_room():
            self.signals.extend((asked, value))

    def copy(self) -> Tape:
        """The tape as it stands, also while it is written: readings last, so that no input is after them."""
        whole, reached = self.whole, self.reached
        inputs, signals = self.inputs.copy(), array("q", self.signals)
        return Tape(self.readings.copy(), inputs, signals, whole, reached)

    def each_input(self) -> Iterator[Input]:
        """The inputs in order. BridgeError for a tape that is cut off or damaged."""
        inputs, at, position, tick = bytes(self.inputs), 0, 0, 0
        sources = len(Source)
        while at < len(inputs):
            more, at = read_number(inputs, at)
            ticks, at = read_number(inputs, at)
            source, at = read_number(inputs, at)
            length, at = read_number(inputs, at)
            position += more
            tick += ticks
            if more < 0 or position > len(self.readings) or not 0 <= source < sources:
                raise BridgeError("the tape is damaged: its inputs are out of order")
            if not 0 <= length <= len(inputs) - at:
                raise BridgeError("the tape ends in the middle of an input")
            yield Input(position, tick / TICKS, Source(source), inputs[at : at + length])
            at += length

    def _has_room(self) -> bool:
        if self.whole and self.size > self.limit:
            self.whole = False
        return self.whole

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self.readings.size + 8 * len(self.signals) + len(self.inputs)

    @property
    def occupied(self) -> int:
        """Bytes of memory that it takes, about: it is kept compressed."""
        return self.readings.occupied + 8 * len(self.signals) + self.inputs.occupied


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
        return self._tape.read(self._clock())

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
    """The world as a tape has it. `position` readings have been read; `reached` is told each time the clock
    moves on. TapeEnd when there are no more."""

    def __init__(self, tape: Tape, reached: Callable[[float], None]) -> None:
        self._readings, self._reached = iter(tape.readings), reached
        self.position = 0
        signals = tape.signals
        self._signals = dict(zip(signals[::2], signals[1::2], strict=False))
        self._asked = 0
        self._told = 0

    def now(self) -> float:
        tick = next(self._readings, None)
        if tick is None:
            raise TapeEnd
        self.position += 1
        self._reached(tick / TICKS)
        return tick / TICKS

    def interrupted(self) -> bool:
        self._asked += 1
        return self._asked - 1 in self._signals

    def late(self) -> int:
        self._told = self._signals.get(self._asked, self._told)
        self._asked += 1
        return self._told


class TapeEnd(Exception):  # noqa: N818 - where a session was stopped, its tape ends
    """There are no more readings."""
