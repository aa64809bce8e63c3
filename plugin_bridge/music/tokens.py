"""Tokens <-> events: one codec, whole arrays at a time for training and event by event for playing.

`encode` and `decode` work on whole pieces without a Python loop. `Encoder` and `Decoder` are the same
functions fed one event or one token at a time (a property test holds them together). Rows are events
on the 10 ms grid in an array of dtype `ROW`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from plugin_bridge.music import vocabulary as v
from plugin_bridge.music.events import Event, NoteOff, NoteOn, Part, Pedal
from plugin_bridge.music.vocabulary import Kind

ROW = np.dtype([("tick", "i4"), ("kind", "u1"), ("value", "u1"), ("velocity", "u1"), ("part", "u1")])
"""One event: tick (10 ms), kind (a `Kind`), value (pitch, or 1 for pedal down), velocity bin, part."""

Rows = NDArray[np.void]
Tokens = NDArray[np.uint16]

_DEFAULT_VELOCITY_BIN = v.velocity_bin(72)


def tick_of(seconds: float) -> int:
    """The 10 ms tick nearest to `seconds`."""
    return round(seconds / v.TICK_SECONDS)


def rows_from_events(events: Iterable[Event]) -> Rows:
    """Quantise events (already in order) to an array of `ROW`."""
    table = []
    for event in events:
        tick = tick_of(event.time)
        match event:
            case NoteOn():
                table.append((tick, Kind.NOTE_ON, event.pitch, v.velocity_bin(event.velocity), event.part))
            case NoteOff():
                table.append((tick, Kind.NOTE_OFF, event.pitch, 0, event.part))
            case Pedal():
                table.append((tick, Kind.PEDAL, int(event.down), 0, event.part))
    return np.array(table, dtype=ROW)


def events_from_rows(rows: Rows) -> list[Event]:
    """The events that rows stand for, times in seconds, velocities at the centre of their bins."""
    result: list[Event] = []
    for tick, kind, value, velocity, part in rows.tolist():
        time = tick * v.TICK_SECONDS
        if kind == Kind.NOTE_ON:
            result.append(NoteOn(time, value, v.bin_velocity(velocity), Part(part)))
        elif kind == Kind.NOTE_OFF:
            result.append(NoteOff(time, value, Part(part)))
        else:
            result.append(Pedal(time, bool(value), Part(part)))
    return result


def encode(rows: Rows, *, velocities: bool = True) -> Tokens:
    """Rows in time order to token ids, uint16 [T]; time starts at tick 0, no bos or eos.

    A velocity or a part token appears only when it changes. With `velocities=False` no velocity tokens
    are written: for scores, which know nothing of touch.
    """
    if len(rows) == 0:
        return np.zeros(0, np.uint16)
    gaps = np.diff(rows["tick"], prepend=0)
    if (gaps < 0).any():
        raise ValueError("rows are not in time order")
    full, rest = np.divmod(gaps, v.MAX_SHIFT)
    part_changes = np.diff(rows["part"].astype(np.int16), prepend=-1) != 0
    velocity_changes = np.zeros(len(rows), bool)
    if velocities:
        for part in Part:
            (ons,) = np.nonzero((rows["kind"] == Kind.NOTE_ON) & (rows["part"] == part))
            velocity_changes[ons] = np.diff(rows["velocity"][ons].astype(np.int16), prepend=-1) != 0
    counts = full + (rest > 0) + part_changes + velocity_changes + 1
    ends = np.cumsum(counts)
    tokens = np.full(ends[-1], v.SHIFT_BASE + v.MAX_SHIFT - 1, np.uint16)  # full shifts stay as filled
    bases = np.zeros(len(Kind), np.int64)
    bases[[Kind.NOTE_ON, Kind.NOTE_OFF, Kind.PEDAL]] = v.NOTE_ON_BASE, v.NOTE_OFF_BASE, v.PEDAL_BASE
    at = ends - 1
    tokens[at] = bases[rows["kind"]] + rows["value"]
    at = at - velocity_changes
    tokens[at[velocity_changes]] = v.VELOCITY_BASE + rows["velocity"][velocity_changes].astype(np.int64)
    at = at - part_changes
    tokens[at[part_changes]] = v.PART_BASE + rows["part"][part_changes]
    has_rest = rest > 0
    tokens[at[has_rest] - 1] = v.SHIFT_BASE + rest[has_rest] - 1
    return tokens


def ticks(tokens: NDArray[np.integer]) -> NDArray[np.int64]:
    """The time in ticks after each token, int64 [T], from 0 at the start."""
    wide = tokens.astype(np.int64)
    is_shift = (wide >= v.SHIFT_BASE) & (wide < v.VELOCITY_BASE)
    return np.cumsum(np.where(is_shift, wide - v.SHIFT_BASE + 1, 0))


def _last_set(is_set: NDArray[np.bool_], values: NDArray[np.integer], default: int) -> NDArray[np.int64]:
    """At each place the value most recently set, or `default` before the first."""
    index = np.maximum.accumulate(np.where(is_set, np.arange(len(is_set)), -1))
    return np.where(index >= 0, values[index], default).astype(np.int64)


def decode(tokens: NDArray[np.integer]) -> Rows:
    """Token ids [T] to rows; special tokens are passed over. Notes are not checked: see `Decoder`."""
    wide = tokens.astype(np.int64)
    if len(wide) == 0:
        return np.zeros(0, ROW)
    time = ticks(wide)
    part = _last_set((wide >= v.PART_BASE) & (wide < v.PEDAL_BASE), wide - v.PART_BASE, Part.PARTNER)
    is_velocity = wide >= v.VELOCITY_BASE
    velocity = np.zeros(len(wide), np.int64)
    for each in Part:
        mine = _last_set(is_velocity & (part == each), wide - v.VELOCITY_BASE, _DEFAULT_VELOCITY_BIN)
        velocity = np.where(part == each, mine, velocity)
    (at,) = np.nonzero((wide >= v.PEDAL_BASE) & (wide < v.SHIFT_BASE))
    token = wide[at]
    rows = np.zeros(len(at), ROW)
    rows["tick"] = time[at]
    rows["part"] = part[at]
    is_on = (token >= v.NOTE_ON_BASE) & (token < v.NOTE_OFF_BASE)
    is_off = token >= v.NOTE_OFF_BASE
    rows["kind"] = np.where(is_on, Kind.NOTE_ON, np.where(is_off, Kind.NOTE_OFF, Kind.PEDAL))
    base = np.where(is_on, v.NOTE_ON_BASE, np.where(is_off, v.NOTE_OFF_BASE, v.PEDAL_BASE))
    rows["value"] = token - base
    rows["velocity"] = np.where(is_on, velocity[at], 0)
    return rows


@dataclass(slots=True)
class Encoder:
    """Events in, tokens out, one at a time. `tick` is the time reached; events may not go back past it
    (an event that does is written at `tick`: a live input can jitter, time in the stream cannot)."""

    tick: int = 0
    part: Part | None = None
    velocities: list[int | None] = field(default_factory=lambda: [None, None])

    def push(self, event: Event) -> list[int]:
        """The tokens that bring the stream to `event`."""
        tokens = self.advance(tick_of(event.time))
        if event.part is not self.part:
            tokens.append(v.PART_BASE + event.part)
            self.part = event.part
        match event:
            case NoteOn():
                level = v.velocity_bin(event.velocity)
                if level != self.velocities[event.part]:
                    tokens.append(v.VELOCITY_BASE + level)
                    self.velocities[event.part] = level
                tokens.append(v.NOTE_ON_BASE + event.pitch)
            case NoteOff():
                tokens.append(v.NOTE_OFF_BASE + event.pitch)
            case Pedal():
                tokens.append(v.PEDAL_BASE + int(event.down))
        return tokens

    def advance(self, tick: int) -> list[int]:
        """The time-shift tokens that bring the stream to `tick`."""
        gap = max(tick - self.tick, 0)
        self.tick += gap
        full, rest = divmod(gap, v.MAX_SHIFT)
        tokens = [v.SHIFT_BASE + v.MAX_SHIFT - 1] * full
        if rest:
            tokens.append(v.SHIFT_BASE + rest - 1)
        return tokens

    def follow(self, token: int) -> None:
        """Keep in step with a token that came from elsewhere (the model)."""
        what, value = v.kind(token)
        if what is Kind.SHIFT:
            self.tick += value + 1
        elif what is Kind.PART:
            self.part = Part(value)
        elif what is Kind.VELOCITY and self.part is not None:
            self.velocities[self.part] = value

    def copy(self) -> Encoder:
        return Encoder(self.tick, self.part, list(self.velocities))


@dataclass(slots=True)
class Decoder:
    """Tokens in, events out, tolerant of anything: what makes no sense is passed over and counted in
    `invalid` (a note-off for a silent note, a note-on for a sounding one, a velocity before no note)."""

    tick: int = 0
    part: Part = Part.PARTNER
    invalid: int = 0
    velocities: list[int] = field(default_factory=lambda: [_DEFAULT_VELOCITY_BIN] * 2)
    held: set[tuple[Part, int]] = field(default_factory=set)
    _awaits_note: bool = False

    def push(self, token: int) -> Event | None:
        """The event that `token` completes, or None."""
        what, value = v.kind(token)
        if self._awaits_note and what is not Kind.NOTE_ON:
            self.invalid += 1
        self._awaits_note = what is Kind.VELOCITY
        time = self.tick * v.TICK_SECONDS
        key = (self.part, value)
        match what:
            case Kind.SHIFT:
                self.tick += value + 1
            case Kind.PART:
                self.part = Part(value)
            case Kind.VELOCITY:
                self.velocities[self.part] = value
            case Kind.PEDAL:
                return Pedal(time, bool(value), self.part)
            case Kind.NOTE_ON if key not in self.held:
                self.held.add(key)
                return NoteOn(time, value, v.bin_velocity(self.velocities[self.part]), self.part)
            case Kind.NOTE_OFF if key in self.held:
                self.held.discard(key)
                return NoteOff(time, value, self.part)
            case Kind.NOTE_ON | Kind.NOTE_OFF:
                self.invalid += 1
            case Kind.SPECIAL:
                pass
        return None
