"""Events: what a musician does, at a time in seconds.

Outside the model every time is a float in seconds; the 10 ms grid of the token stream exists only in
:mod:`plugin_bridge.music.tokens`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

from plugin_bridge.errors import BridgeError


class Part(IntEnum):
    """Who plays: the human or the model."""

    PLAYER = 0
    PARTNER = 1

    @property
    def other(self) -> Part:
        return Part.PARTNER if self is Part.PLAYER else Part.PLAYER


def _check_pitch(pitch: int) -> None:
    if not 0 <= pitch <= 127:
        raise BridgeError(f"pitch {pitch} is not a MIDI note number (0 to 127)")


@dataclass(frozen=True, slots=True)
class NoteOn:
    """A key goes down. `time` in seconds, `pitch` 0..127, `velocity` 1..127."""

    time: float
    pitch: int
    velocity: int
    part: Part = Part.PLAYER

    def __post_init__(self) -> None:
        _check_pitch(self.pitch)
        if not 1 <= self.velocity <= 127:
            raise BridgeError(f"velocity {self.velocity} is not 1 to 127 (0 means note-off)")


@dataclass(frozen=True, slots=True)
class NoteOff:
    """A key comes up. `time` in seconds, `pitch` 0..127."""

    time: float
    pitch: int
    part: Part = Part.PLAYER

    def __post_init__(self) -> None:
        _check_pitch(self.pitch)


@dataclass(frozen=True, slots=True)
class Pedal:
    """The sustain pedal (controller 64) goes down or up. `time` in seconds."""

    time: float
    down: bool
    part: Part = Part.PLAYER


Event: TypeAlias = NoteOn | NoteOff | Pedal


def canonical_key(event: Event) -> tuple[float, int, int, int]:
    """Sort key of simultaneous events: note-offs, pedals, note-ons; player first; then by pitch."""
    match event:
        case NoteOff():
            return event.time, 0, event.part, event.pitch
        case Pedal():
            return event.time, 1, event.part, int(event.down)
        case NoteOn():
            return event.time, 2, event.part, event.pitch


def close_all(events: Iterable[Event], end: float) -> Iterator[Event]:
    """Pass `events` on and then release, at `end` seconds, every note and pedal still down."""
    held: set[tuple[Part, int]] = set()
    pedals: set[Part] = set()
    for event in events:
        match event:
            case NoteOn():
                held.add((event.part, event.pitch))
            case NoteOff():
                held.discard((event.part, event.pitch))
            case Pedal(down=True):
                pedals.add(event.part)
            case Pedal():
                pedals.discard(event.part)
        yield event
    for part, pitch in sorted(held):
        yield NoteOff(end, pitch, part)
    for part in sorted(pedals):
        yield Pedal(end, False, part)


def drop_strays(events: Iterable[Event]) -> Iterator[Event]:
    """Pass `events` on without the ends of what began before, and without strokes of keys that are down."""
    held: set[tuple[Part, int]] = set()
    pedals: set[Part] = set()
    for event in events:
        match event:
            case NoteOn():
                if (event.part, event.pitch) in held:
                    continue
                held.add((event.part, event.pitch))
            case NoteOff():
                if (event.part, event.pitch) not in held:
                    continue
                held.discard((event.part, event.pitch))
            case Pedal(down=True):
                pedals.add(event.part)
            case Pedal():
                if event.part not in pedals:
                    continue
                pedals.discard(event.part)
        yield event
