"""What is wrong with the ports, in words, until it is mended; and what is left alone meanwhile.

Threads: all belongs to one, but for `texts`, which any may ask.
"""

from __future__ import annotations

import logging
from typing import TypeAlias

from plugin_bridge.ports.connections import Direction, PortKey
from plugin_bridge.ports.rtmidi_objects import Virtual

logger = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
"""How long a port that could not be opened is left alone."""
Subject: TypeAlias = tuple[Direction, PortKey | Virtual] | None
"""What a problem is about: a port, or the MIDI system."""


class Problems:
    """See the module. `changes` counts them as they come and go."""

    def __init__(self) -> None:
        self.changes = 0
        self._problems: dict[Subject, str] = {}
        self._retry: dict[Subject, float] = {}

    def texts(self) -> tuple[str, ...]:
        """All of them, each once."""
        return tuple(dict.fromkeys(tuple(self._problems.values())))

    def add(self, about: Subject, text: str, time: float) -> None:
        """At `time` in seconds it went wrong."""
        self._retry[about] = time + RETRY_SECONDS
        if self._problems.get(about) != text:
            self._problems[about] = text
            self.changes += 1
            logger.warning("%s", text)

    def solved(self, about: Subject) -> None:
        """It is well now."""
        self._retry.pop(about, None)
        self.changes += self._problems.pop(about, None) is not None

    def left_alone(self, about: Subject, time: float) -> bool:
        """Whether it went wrong just now."""
        return time < self._retry.get(about, 0.0)

    def try_again(self) -> None:
        """Leave nothing alone."""
        self._retry.clear()

    def keep(self, direction: Direction, meant: set[PortKey | Virtual]) -> None:
        """Of ports of `direction`, only those that are `meant` matter any more."""
        for about in list(self._problems):
            if about is not None and about[0] == direction and about[1] not in meant:
                self.solved(about)
