"""A patchbay from outside: the ports there are, what is connected, what is waited for; and what it can do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from plugin_bridge.ports.connections import (
    DIRECTIONS,
    Connections,
    Direction,
    PortKey,
    is_own,
    keys_of,
    matches,
)
from plugin_bridge.ports.rtmidi_objects import Virtual
from plugin_bridge.ports.transport import Transport
from plugin_bridge.ports.wire import MidiPorts


@dataclass(frozen=True, slots=True)
class PortView:
    """A port. `patterns` are the saved ones that mean it; `own` are our virtual ports."""

    name: str
    direction: Direction
    connected: bool
    own: bool = False
    patterns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PatchView:
    """Where the patchbay stands. `waiting` are patterns that mean no port that is there; `problems` are in
    words, with the mend. `changes` counts, so that one can tell whether something changed."""

    transport: Transport
    ports: tuple[PortView, ...]
    waiting: tuple[tuple[Direction, str], ...]
    problems: tuple[str, ...]
    changes: int


@dataclass(frozen=True, slots=True)
class Side:
    """All inputs, or all outputs: the names that are there, the saved patterns, what is connected, and the
    name of our virtual port, empty where there is to be none."""

    names: tuple[str, ...]
    patterns: tuple[str, ...]
    connected: frozenset[PortKey | Virtual]
    virtual: str


class Patches(MidiPorts, Protocol):
    """A pair of ports that follows devices by patterns. `stats().lost` is always None."""

    @property
    def connections(self) -> Connections:
        """The patterns that are followed."""

    def follow(self, connections: Connections) -> None:
        """Connect by these patterns from now on; what they do not mean is let go."""

    def view(self) -> PatchView:
        """What is there, what is connected, and what is wrong."""


def view_of(
    sides: Mapping[Direction, Side],
    own: Sequence[str],
    transport: Transport,
    problems: tuple[str, ...],
    changes: int,
) -> PatchView:
    """The view of both sides. Names that begin with one of `own` are ours and left out."""
    ports: list[PortView] = []
    waiting: list[tuple[Direction, str]] = []
    for direction in DIRECTIONS:
        side = sides[direction]
        if side.virtual:
            ports.append(PortView(side.virtual, direction, Virtual(side.virtual) in side.connected, own=True))
        names = [each for each in side.names if not is_own(each, own)]
        for key in keys_of(names):
            meant = tuple(each for each in side.patterns if matches(each, key.name))
            ports.append(PortView(key.name, direction, key in side.connected, patterns=meant))
        waiting += [
            (direction, each) for each in side.patterns if not any(matches(each, name) for name in names)
        ]
    return PatchView(transport, tuple(ports), tuple(waiting), problems, changes)
