"""FL Studio with the script, and the program's end of the link, on one virtual clock.

What goes from one to the other may be lost, doubled or swapped on the way: `channel` gets each message and
gives those that arrive.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Unpack

from fakes.fl_host import FlHost, HostOptions

from plugin_bridge.ports.fl_link import FlLink

Channel = Callable[[bytes], Iterable[bytes]]
STEP = 0.005


def whole(message: bytes) -> list[bytes]:
    """A channel that loses nothing."""
    return [message]


class Bad:
    """A channel that loses, doubles and delays each message with probability `share` while it is bad."""

    def __init__(self, share: float, seed: int) -> None:
        self.share, self._random, self._kept = share, random.Random(seed), b""

    def __call__(self, message: bytes) -> list[bytes]:
        out = [self._kept] if self._kept else []
        self._kept = b""
        chance = self._random.random()
        if chance < self.share:
            return out
        if chance < 2 * self.share:
            return [*out, message, message]
        if chance < 3 * self.share:
            self._kept = message  # comes after the next one
            return out
        return [message, *out]


class Pair:
    """A host and a link that hear each other. `alive` False: the program has died."""

    def __init__(
        self, link: FlLink | None = None, delay: float = 0.001, **options: Unpack[HostOptions]
    ) -> None:
        self.link = link if link is not None else FlLink(new_id=counter(100))
        self.host = FlHost(self._to_link, **options)
        self.delay = delay
        self.up: Channel = whole
        self.down: Channel = whole
        self.alive = True
        self.heard: list[bytes] = []  # by the program, and not the link's

    def start(self) -> Pair:
        """Start both, and let them find each other."""
        self.host.start()
        self.run(1.0)
        return self

    @property
    def time(self) -> float:
        return self.host.time

    def run(self, seconds: float) -> None:
        """Let time pass on both sides."""
        for _ in range(round(seconds / STEP)):
            self.host.advance(STEP)
            for message in self.link.frames_due(self.host.time) if self.alive else ():
                self.say(message)

    def say(self, message: bytes) -> None:
        """The program sends a message to FL."""
        for each in self.down(message):
            self.host.deliver(each)

    def _to_link(self, message: bytes) -> None:
        for each in self.up(message) if self.alive else ():
            if not self.link.hear(each, self.host.time + self.delay):
                self.heard.append(each)


def counter(start: int) -> Callable[[], int]:
    """Ids: `start`, and on from there."""
    state = iter(range(start, 16384))
    return lambda: next(state)
