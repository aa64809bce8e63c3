"""What may come next: a grammar of the token stream, and limits that compose with it.

The grammar state follows every token, whoever wrote it, and masks each token that would be wrong, so
that what is generated is valid by construction. Each limit is a small class with one method,
`apply(mask, grammar)`, that clears further entries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from plugin_bridge.errors import BridgeError
from plugin_bridge.music import vocabulary as v
from plugin_bridge.music.events import Part
from plugin_bridge.music.vocabulary import Kind

Mask = NDArray[np.uint8]
"""uint8 [vocabulary size]; 1 where the token is allowed."""

_ONS = slice(v.NOTE_ON_BASE, v.NOTE_OFF_BASE)
_OFFS = slice(v.NOTE_OFF_BASE, v.SHIFT_BASE)
_SHIFTS = slice(v.SHIFT_BASE, v.VELOCITY_BASE)
_VELOCITIES = slice(v.VELOCITY_BASE, v.SIZE)
CHORD_TICKS = 4
"""Notes that begin within so many ticks of the first are a chord, played by hand."""
_LONG_AGO = -1_000_000


def _two_by_128() -> NDArray[np.bool_]:
    return np.zeros((2, 128), bool)


@dataclass(slots=True)
class Grammar:
    """The state of the stream: who plays, which notes each part holds, what the last token was."""

    tick: int = 0
    part: Part | None = None
    held: NDArray[np.bool_] = field(default_factory=_two_by_128)
    fresh: NDArray[np.bool_] = field(default_factory=_two_by_128)
    pedal: list[bool] = field(default_factory=lambda: [False, False])
    velocity: list[int] = field(default_factory=lambda: [-1, -1])
    onset: list[int] = field(default_factory=lambda: [_LONG_AGO, _LONG_AGO])
    pressed: list[int] = field(default_factory=lambda: [_LONG_AGO, _LONG_AGO])
    last: Kind = Kind.SPECIAL
    full_shift: bool = True

    def copy(self) -> Grammar:
        """An independent copy, to come back to after a rewind."""
        return Grammar(
            self.tick, self.part, self.held.copy(), self.fresh.copy(), list(self.pedal),
            list(self.velocity), list(self.onset), list(self.pressed), self.last, self.full_shift,
        )  # fmt: skip

    def push(self, token: int) -> None:
        """Follow `token`. Anything is followed: what a live player does cannot be refused."""
        what, value = v.kind(token)
        part = Part.PARTNER if self.part is None else self.part
        match what:
            case Kind.SHIFT:
                self.tick += value + 1
                self.full_shift = value + 1 == v.MAX_SHIFT
                self.fresh[:] = False
            case Kind.PART:
                self.part = Part(value)
            case Kind.VELOCITY:
                self.velocity[part] = value
            case Kind.NOTE_ON:
                self.held[part, value] = self.fresh[part, value] = True
                if self.tick - self.onset[part] > CHORD_TICKS:
                    self.onset[part] = self.tick
            case Kind.NOTE_OFF:
                self.held[part, value] = False
            case Kind.PEDAL:
                self.pedal[part] = bool(value)
                if value:
                    self.pressed[part] = self.tick
        self.last = what

    def polyphony(self, part: Part) -> int:
        """How many notes `part` holds."""
        return int(self.held[part].sum())

    def mask(self, limits: Sequence[Limit] = (), out: Mask | None = None) -> Mask:
        """Which tokens may follow, uint8 [V], written into `out` where one is given. Never all zero: where
        the limits leave nothing, time may pass."""
        mask = np.empty(v.SIZE, np.uint8) if out is None else out
        mask[:] = 0
        if self.last is Kind.VELOCITY and self.part is not None:
            np.logical_not(self.held[self.part], out=mask[_ONS])
        else:
            if self.part is not None:
                self._mask_events(mask, self.part)
            if self.last is not Kind.PART:
                mask[v.EOS] = 1
                mask[_SHIFTS] = self.last is not Kind.SHIFT or self.full_shift
                mask[v.PART_BASE : v.PEDAL_BASE] = 1
                if self.part is not None:
                    mask[v.PART_BASE + self.part] = 0
        for limit in limits:
            limit.apply(mask, self)
        if self.last is not Kind.VELOCITY and self.part is not None:
            if not mask[_ONS].any():
                mask[_VELOCITIES] = 0  # a velocity promises a note, and the limits leave none
            if self.velocity[self.part] < 0:
                mask[_ONS] = 0  # its velocity has yet to be said
        if not mask.any():
            mask[_SHIFTS] = 1
        return mask

    def _mask_events(self, mask: Mask, part: Part) -> None:
        held = self.held[part]
        np.logical_not(held, out=mask[_ONS])
        mask[_OFFS] = held & ~self.fresh[part]
        mask[v.PEDAL_BASE + (not self.pedal[part])] = 1
        if not held.all():
            mask[_VELOCITIES] = 1
            if self.velocity[part] >= 0:
                mask[v.VELOCITY_BASE + self.velocity[part]] = 0


class Limit(Protocol):
    """Something that forbids further tokens."""

    def apply(self, mask: Mask, grammar: Grammar) -> None:
        """Clear entries of `mask`; never set one."""


@dataclass(frozen=True, slots=True)
class OnlyPart:
    """Only `part` may play: the other part's events are not the model's to write."""

    part: Part

    def apply(self, mask: Mask, grammar: Grammar) -> None:
        mask[v.PART_BASE + self.part.other] = 0
        if grammar.part is self.part.other:
            mask[v.PEDAL_BASE : v.SHIFT_BASE] = 0
            mask[_VELOCITIES] = 0


@dataclass(frozen=True, slots=True)
class PitchRange:
    """New notes from `low` to `high` only (MIDI note numbers, both included)."""

    low: int = 0
    high: int = 127

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high <= 127:
            raise BridgeError(f"pitch range {self.low} to {self.high}: give two of 0 to 127, the lower first")

    def apply(self, mask: Mask, grammar: Grammar) -> None:
        mask[v.NOTE_ON_BASE : v.NOTE_ON_BASE + self.low] = 0
        mask[v.NOTE_ON_BASE + self.high + 1 : v.NOTE_OFF_BASE] = 0
        part = grammar.part
        if part is not None and grammar.held[part, self.low : self.high + 1].all():
            mask[_VELOCITIES] = 0  # a velocity promises a note, and none is left


@dataclass(frozen=True, slots=True)
class Polyphony:
    """At most `notes` held at once by a part."""

    notes: int

    def apply(self, mask: Mask, grammar: Grammar) -> None:
        part = grammar.part
        if part is not None and grammar.polyphony(part) >= self.notes and grammar.last is not Kind.VELOCITY:
            mask[_ONS] = 0
            mask[_VELOCITIES] = 0


@dataclass(frozen=True, slots=True)
class Spacing:
    """At least `ticks` from one onset of a part to its next; what follows within CHORD_TICKS is one chord."""

    ticks: int

    def apply(self, mask: Mask, grammar: Grammar) -> None:
        part = grammar.part
        if part is None or grammar.last is Kind.VELOCITY:
            return
        if CHORD_TICKS < grammar.tick - grammar.onset[part] < self.ticks:
            mask[_ONS] = 0
            mask[_VELOCITIES] = 0


@dataclass(frozen=True, slots=True)
class UsefulPedal:
    """The pedal goes down again only when a note was struck since it last did: where other limits leave no
    notes, a model would fill the time with the pedal."""

    def apply(self, mask: Mask, grammar: Grammar) -> None:
        part = grammar.part
        if part is not None and grammar.onset[part] < grammar.pressed[part]:
            mask[v.PEDAL_BASE + 1] = 0


@dataclass(frozen=True, slots=True)
class Loudest:
    """No velocity above that of `level`, a velocity bin of the vocabulary."""

    level: int

    def apply(self, mask: Mask, grammar: Grammar) -> None:
        mask[v.VELOCITY_BASE + self.level + 1 : v.SIZE] = 0
        part = grammar.part
        if part is not None and grammar.last is not Kind.VELOCITY and grammar.velocity[part] > self.level:
            mask[_ONS] = 0  # a lower velocity has yet to be said


@dataclass(frozen=True, slots=True)
class NotBefore:
    """No event before `tick`: only the time-shifts that do not stop short of it."""

    tick: int

    def apply(self, mask: Mask, grammar: Grammar) -> None:
        missing = self.tick - grammar.tick
        if missing > 0 and grammar.last is not Kind.VELOCITY:
            mask[: v.SHIFT_BASE] = 0
            mask[_VELOCITIES] = 0
            mask[v.SHIFT_BASE : v.SHIFT_BASE + min(missing, v.MAX_SHIFT) - 1] = 0
            if not mask[_SHIFTS].any():  # after a short shift the stream goes on from where it is
                mask[v.SHIFT_BASE + min(missing, v.MAX_SHIFT) - 1 : v.VELOCITY_BASE] = 1


@dataclass(frozen=True, slots=True)
class StartBy:
    """A part that holds nothing plays a note by `tick`: no time-shift leads beyond it before one sounds,
    and once it is reached the next event is a note."""

    part: Part
    tick: int

    def apply(self, mask: Mask, grammar: Grammar) -> None:
        if grammar.held[self.part].any() or grammar.last is Kind.VELOCITY:
            return
        left = self.tick - grammar.tick
        if left > 0:
            if left < v.MAX_SHIFT and mask[_SHIFTS][:left].any():
                mask[v.SHIFT_BASE + left : v.VELOCITY_BASE] = 0
            return
        events = mask.copy()
        events[_SHIFTS] = 0
        events[v.PEDAL_BASE : v.NOTE_ON_BASE] = 0
        events[v.EOS] = 0
        if events.any():
            mask[:] = events


@dataclass(frozen=True, slots=True)
class NoEnd:
    """The piece may not end."""

    def apply(self, mask: Mask, grammar: Grammar) -> None:
        mask[v.EOS] = 0
