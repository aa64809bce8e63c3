"""A stream's latest past, and another engine brought to where the stream stands, for it to move to."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from plugin_bridge.engine.bundle import Sizes
from plugin_bridge.engine.engine import MAX_REWIND, Engine, PlanWindow
from plugin_bridge.music import vocabulary as v
from plugin_bridge.music.harmony import Chart

Entry: TypeAlias = tuple[int, int, int]
"""Token, metrical position, index of the chord (-1: none)."""


@dataclass(frozen=True, slots=True)
class History:
    """The latest of a stream: entries ending at length `end`."""

    end: int
    entries: tuple[Entry, ...]
    chart: Chart


class Replay:
    """A stream's history played to another engine, which a stream can then move to. To be made in any
    thread: nothing of the stream itself is touched."""

    def __init__(self, engine: Engine, history: History) -> None:
        self.engine = engine
        self.entries = list(history.entries)
        self.start = history.end - len(history.entries)
        self.chart = history.chart
        self._chord: int | None = None
        self.logits = np.zeros(v.SIZE, np.float32)
        engine.reset()
        self._play(history.entries)

    def follow(self, history: History) -> bool:
        """Come to where the stream stands now. False when it went back further than can be followed."""
        first = max(self.start, history.end - len(history.entries))
        mine, theirs = self.entries[first - self.start :], history.entries[-(history.end - first) :]
        same = 0
        while same < min(len(mine), len(theirs)) and mine[same] == theirs[same]:
            same += 1
        if same == 0 or self.chart is not history.chart:
            return False
        # one token is always played again, for its logits
        keep = first - self.start + same - 1
        if self.engine.length - keep > MAX_REWIND or keep < self.engine.oldest_length:
            return False
        self.engine.rewind(keep)
        del self.entries[keep:]
        self._chord = None
        self.entries += theirs[same - 1 :]
        self._play(theirs[same - 1 :])
        return True

    def _play(self, entries: Sequence[Entry]) -> None:
        for chord, group in itertools.groupby(entries, key=lambda entry: entry[2]):
            run = list(group)
            if chord != self._chord:
                self.engine.set_plan(plan_window(self.chart, chord, self.engine.style.sizes))
                self._chord = chord
            self.logits[:] = self.engine.extend([entry[0] for entry in run], [entry[1] for entry in run])


def plan_window(chart: Chart, index: int, sizes: Sizes) -> PlanWindow | None:
    """The chords around chord `index` of a chart, as an engine takes them."""
    window = chart.window(index, sizes.plan_before, sizes.plan_after)
    return None if window is None else PlanWindow(window)
