"""Which ports are to be connected: saved patterns against the ports that are there. Pure.

A pattern is a port's name, with `*` and `?` for what may differ, compared without regard to case to the full
name ("Keystation:MIDI 1") and to the short one ("MIDI 1"), both without ALSA's address, which changes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import translate
from typing import Literal, TypeAlias

from plugin_bridge.errors import BridgeError
from plugin_bridge.ports.names import bare_name, short_name

Direction: TypeAlias = Literal["input", "output"]

DIRECTIONS: tuple[Direction, Direction] = "input", "output"
LONGEST_PATTERN = 200
MOST_PATTERNS = 32


@dataclass(frozen=True, slots=True, order=True)
class PortKey:
    """A port of another program or a device: the `occurrence`-th of this full name."""

    name: str
    occurrence: int = 0


@dataclass(frozen=True, slots=True)
class Connections:
    """Patterns of the ports that are listened to (keyboards), and of those that are played to."""

    listen: tuple[str, ...] = ()
    play: tuple[str, ...] = ()

    def patterns(self, direction: Direction) -> tuple[str, ...]:
        """Those of one direction."""
        return self.listen if direction == "input" else self.play

    def adding(self, direction: Direction, pattern: str) -> Connections:
        """These and `pattern`, once. BridgeError when it is no pattern, or they would be too many."""
        check_pattern(pattern)
        before = self.patterns(direction)
        if pattern in before:
            return self
        if len(before) >= MOST_PATTERNS:
            raise BridgeError(f"there are {MOST_PATTERNS} connections already: disconnect one first")
        return self._with(direction, (*before, pattern))

    def without(self, direction: Direction, pattern: str) -> Connections:
        """These but `pattern`. BridgeError when it is not among them."""
        before = self.patterns(direction)
        if pattern not in before:
            there = ", ".join(map(repr, before)) or "none"
            raise BridgeError(f"there is no connection {pattern!r}; there are: {there}")
        return self._with(direction, tuple(each for each in before if each != pattern))

    def _with(self, direction: Direction, patterns: tuple[str, ...]) -> Connections:
        return replace(self, **{"listen" if direction == "input" else "play": patterns})


def check_pattern(pattern: str) -> str:
    """`pattern`. BridgeError when it is empty, too long or has characters that no name has."""
    if not pattern.strip() or len(pattern) > LONGEST_PATTERN or not pattern.isprintable():
        raise BridgeError(f"{pattern[:40]!r} is not the name of a port, nor a pattern such as 'Keystation*'")
    return pattern


def pattern_of(name: str) -> str:
    """The pattern that means the port `name` and no other."""
    return re.sub(r"([*?[])", r"[\1]", bare_name(name))


def matches(pattern: str, name: str) -> bool:
    """Whether `pattern` means the port `name`."""
    rule = re.compile(translate(pattern.casefold()))
    return any(rule.match(each.casefold()) for each in (bare_name(name), short_name(name)))


def keys_of(names: Iterable[str]) -> tuple[PortKey, ...]:
    """The ports of these names, in their order; equal names are counted."""
    seen: Counter[str] = Counter()
    keys = []
    for name in names:
        keys.append(PortKey(name, seen[name]))
        seen[name] += 1
    return tuple(keys)


def wanted(patterns: Sequence[str], names: Iterable[str], own: Sequence[str]) -> frozenset[PortKey]:
    """The ports among `names` that `patterns` mean. Never one of our own, whose client or port name begins
    with one of `own`: a partner that hears itself answers itself."""
    return frozenset(
        key
        for key in keys_of(names)
        if not is_own(key.name, own) and any(matches(pattern, key.name) for pattern in patterns)
    )


def is_own(name: str, own: Sequence[str]) -> bool:
    """Whether the port `name` is ours."""
    return any(part.startswith(each) for part in (name, short_name(name)) for each in own if each)
