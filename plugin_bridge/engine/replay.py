"""A stream's latest past, and another engine brought to where the stream stands, for it to move to."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from plugin_bridge.engine.engine import MAX_REWIND, Engine, PlanWindow
from plugin_bridge.engine.runtimes import CHUNK
from plugin_bridge.music import vocabulary as v

Entry: TypeAlias = tuple[int, int, PlanWindow | None]
"""Token, metrical position, and the chords around it."""


@dataclass(frozen=True, slots=True)
class History:
    """The latest of a stream: entries ending at length `end`."""

    end: int
    entries: tuple[Entry, ...]


class Cancelled(Exception):  # noqa: N818 - nothing went wrong
    """A replay is no longer wanted."""


class Replay:
    """A stream's history played to another engine, which a stream can then move to. To be made in any
    thread: nothing of the stream itself is touched. Raises Cancelled soon after `cancelled` says so."""

    def __init__(
        self, engine: Engine, history: History, cancelled: Callable[[], bool] = lambda: False
    ) -> None:
        self.engine = engine
        self.entries = list(history.entries)
        self.start = history.end - len(history.entries)
        self.logits = np.zeros(v.SIZE, np.float32)
        engine.reset()
        self._play(history.entries, cancelled)

    def follow(self, history: History) -> bool:
        """Come to where the stream stands now. False when it went back further than can be followed."""
        first = max(self.start, history.end - len(history.entries))
        mine, theirs = self.entries[first - self.start :], history.entries[-(history.end - first) :]
        same = 0
        while same < min(len(mine), len(theirs)) and mine[same] == theirs[same]:
            same += 1
        if same == 0:
            return False
        # one token is always played again, for its logits
        keep = first - self.start + same - 1
        if self.engine.length - keep > MAX_REWIND or keep < self.engine.oldest_length:
            return False
        self.engine.rewind(keep)
        del self.entries[keep:]
        self.entries += theirs[same - 1 :]
        self._play(theirs[same - 1 :])
        return True

    def _play(self, entries: Sequence[Entry], cancelled: Callable[[], bool] = lambda: False) -> None:
        for plan, group in itertools.groupby(entries, key=lambda entry: entry[2]):
            self.engine.set_plan(plan)
            run = list(group)
            for at in range(0, len(run), CHUNK):
                if cancelled():
                    raise Cancelled
                part = run[at : at + CHUNK]
                self.logits[:] = self.engine.extend(
                    [entry[0] for entry in part], [entry[1] for entry in part]
                )
