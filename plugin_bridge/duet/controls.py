"""The controls: one table that the session, the command line, the documentation and every remote share.

Each control is a number in a range, a switch, or one of several choices; each has a MIDI controller of its
own, from the numbers that MIDI leaves undefined (20 to 31 and 102 to 119). Values are checked here and
nowhere else.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from enum import Enum
from typing import Any

from plugin_bridge.duet.mixing import Mixing
from plugin_bridge.duet.phrases import Mode
from plugin_bridge.errors import BridgeError


class Kind(Enum):
    """What values a control takes."""

    NUMBER = "number"
    WHOLE = "whole number"
    SWITCH = "switch"
    CHOICE = "choice"
    TRIGGER = "trigger"


@dataclass(frozen=True, slots=True)
class Control:
    """A row of the table. `low` and `high` are included; a choice counts its `choices`, a switch is 0 or 1, a
    trigger acts when it is set to 1 and has no state."""

    name: str
    kind: Kind
    default: float
    low: float
    high: float
    unit: str
    controller: int
    what: str
    choices: tuple[str, ...] = ()

    def at(self, value: int) -> float:
        """The value for a controller's `value` 0..127: the range from end to end, a switch from 64 on."""
        share = value / 127
        if self.kind in (Kind.SWITCH, Kind.TRIGGER):
            return float(value >= 64)
        if self.kind is Kind.CHOICE:
            return float(min(int(value * len(self.choices) / 128), len(self.choices) - 1))
        number = self.low + share * (self.high - self.low)
        return float(round(number)) if self.kind is Kind.WHOLE else number

    def check(self, value: float) -> float:
        """`value`, as this control takes it. BridgeError names the control and its range."""
        whole = self.kind is not Kind.NUMBER
        if not (math.isfinite(value) and self.low <= value <= self.high) or (whole and value != int(value)):
            raise BridgeError(f"{self.name} {value:g} must be {self.range}")
        return float(value)

    def parse(self, text: str) -> float:
        """The value that `text` says: a number, a choice's name, or on and off."""
        word = text.strip().lower()
        if self.kind is Kind.CHOICE:
            if word not in self.choices:
                raise BridgeError(f"{self.name} {text!r} must be {self.range}")
            return float(self.choices.index(word))
        if self.kind in (Kind.SWITCH, Kind.TRIGGER) and word in ("on", "off"):
            return float(word == "on")
        try:
            number = float(word)
        except ValueError:
            raise BridgeError(f"{self.name} {text!r} must be {self.range}") from None
        return self.check(number)

    def show(self, value: float) -> str:
        """`value` as `parse` reads it."""
        match self.kind:
            case Kind.CHOICE:
                return self.choices[int(value)]
            case Kind.SWITCH | Kind.TRIGGER:
                return "on" if value else "off"
            case _:
                return f"{value:g}"

    @property
    def range(self) -> str:
        """What values there are, for people."""
        match self.kind:
            case Kind.CHOICE:
                return ", ".join(self.choices[:-1]) + f" or {self.choices[-1]}"
            case Kind.SWITCH | Kind.TRIGGER:
                return "on or off"
            case Kind.WHOLE:
                return f"a whole number, {self.low:g} to {self.high:g}"
            case _:
                return f"{self.low:g} to {self.high:g}"


def _number(
    default: float, low: float, high: float, controller: int, what: str, unit: str = "", whole: bool = False
) -> Any:
    kind = Kind.WHOLE if whole else Kind.NUMBER
    return field(default=default, metadata={"row": (kind, default, low, high, unit, controller, what)})


def _choice(default: Enum, controller: int, what: str) -> Any:
    choices = tuple(member.value for member in type(default))
    row = (Kind.CHOICE, choices.index(default.value), 0, len(choices) - 1, "", controller, what, choices)
    return field(default=default, metadata={"row": row})


def _switch(controller: int, what: str, kind: Kind = Kind.SWITCH) -> Any:
    return field(default=False, metadata={"row": (kind, 0, 0, 1, "", controller, what)})


@dataclass(frozen=True, slots=True)
class Controls:
    """How the partner plays now: a value for every row of `TABLE`. Immutable; `with_value` makes another."""

    mode: Mode = _choice(Mode.ANSWER, 27, "how the partner plays")
    style: int = _number(0, 0, 127, 28, "which of the styles that were given; program changes set it too",
                         whole=True)  # fmt: skip
    temperature: float = _number(1.0, 0.0, 2.0, 20, "how freely notes are drawn; 0 takes the likeliest")
    top_p: float = _number(0.95, 0.05, 1.0, 21, "the likeliest share that notes are drawn from")
    density: float = _number(12.0, 0.5, 20.0, 22, "the partner's onsets at most; a chord is one", "a second")
    register_low: int = _number(24, 0, 127, 23, "the partner's lowest note", "MIDI note", whole=True)
    register_high: int = _number(105, 0, 127, 24, "the partner's highest note", "MIDI note", whole=True)
    dynamics: float = _number(1.0, 0.2, 2.0, 25, "how loud the partner plays, against what it chose", "times")
    adherence: float = _number(3.0, 0.0, 20.0, 26, "what a note outside a given chart's chord costs", "nats")
    lookahead: float = _number(0.8, 0.2, 3.0, 29, "how far ahead the partner plans", "seconds")
    forks: int = _number(1, 1, 6, 30, "continuations that are tried; the best is played", whole=True)
    grid: float = _number(0.0, 0.0, 1.0, 31, "how far onsets are pulled to the sixteenths; 1 is wholly")
    mixing: Mixing = _choice(Mixing.AS_PLAYED, 102, "how the partner's own notes enter what it hears")
    mix: float = _number(0.5, 0.0, 1.0, 103, "interleave: the share that enters; velocity: how loud, "
                         "against the player")  # fmt: skip
    mix_sounds: bool = _switch(104, "whether the mixing also shapes what sounds")
    mute: bool = _switch(105, "the partner listens and is silent")
    panic: bool = _switch(106, "everything off, now", Kind.TRIGGER)
    take: bool = _switch(107, "save the latest minutes as a take", Kind.TRIGGER)

    def value(self, name: str) -> float:
        """The number of the control `name`, as the table counts it."""
        value = getattr(self, name)
        return float(control(name).choices.index(value.value) if isinstance(value, Enum) else value)

    def with_value(self, name: str, value: float) -> Controls:
        """These with `name` set to `value`; a register whose ends would cross moves the other end along.

        BridgeError for an unknown name or a value out of range.
        """
        row = control(name)
        number = row.check(value)
        if row.kind is Kind.TRIGGER:
            return self
        changed: Any = number
        match row.kind:
            case Kind.CHOICE:
                changed = type(getattr(self, name))(row.choices[int(number)])
            case Kind.WHOLE:
                changed = int(number)
            case Kind.SWITCH:
                changed = bool(number)
        result = replace(self, **{name: changed})
        if result.register_low > result.register_high:
            result = replace(result, register_low=changed, register_high=changed)
        return result


TABLE: tuple[Control, ...] = tuple(Control(each.name, *each.metadata["row"]) for each in fields(Controls))
"""Every control there is."""
_BY_NAME = {row.name: row for row in TABLE}
BY_CONTROLLER = {row.controller: row for row in TABLE}
"""MIDI controller number to control."""


def control(name: str) -> Control:
    """The row of `name`; BridgeError where there is none."""
    found = _BY_NAME.get(name.strip().replace("-", "_"))
    if found is None:
        raise BridgeError(f"there is no control {name!r}; there are {', '.join(_BY_NAME)}")
    return found


def settings_of(texts: Iterable[str]) -> dict[str, float]:
    """NAME=VALUE texts, as on the command line, to values by name."""
    found: dict[str, float] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign:
            raise BridgeError(f"{text!r}: write NAME=VALUE, such as temperature=0.9")
        row = control(name)
        if row.kind is Kind.TRIGGER:
            raise BridgeError(f"{row.name} is no setting: it acts when it is touched, while the duet runs")
        found[row.name] = row.parse(value)
    return found


def markdown() -> str:
    """The table for the documentation."""
    lines = ["| control | default | range | CC | what it does |", "|---|---|---|---|---|"]
    for row in TABLE:
        unit = f" {row.unit}" if row.unit else ""
        default = "" if row.kind is Kind.TRIGGER else row.show(row.default)
        lines.append(f"| `{row.name}` | {default} | {row.range}{unit} | {row.controller} | {row.what} |")
    return "\n".join(lines) + "\n"
