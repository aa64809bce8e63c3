"""What the callbacks of a script cost, and what else went on while the dear ones ran.

Kept in arrays and plain tuples, which Python's collector does not go through: the script's own interpreter
in FL Studio has no such record.
"""

from __future__ import annotations

import gc
import sys
import time
from array import array
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import FrameType
from typing import Any

if sys.platform == "linux":
    from resource import RUSAGE_THREAD, getrusage

DEAR, LONG = 0.001, 0.02
"""Seconds of the processor's time, and by the clock, from which a call is noted down by itself."""


@dataclass(slots=True)
class Work:
    """What a host has been asked for by callbacks so far: `sent` messages, `released` notes; `received` bytes
    came in with the present call. `lines` of the script were run, where they are counted."""

    sent: int = 0
    released: int = 0
    received: int = 0
    lines: int = 0


@dataclass(frozen=True, slots=True)
class Call:
    """A call that was dear. Seconds: `time` is when it began, `wall` and `cpu` what it took, `collecting` how
    much of that Python's collector had. `work` is what it did, `preempted` how often the processor was taken
    from it, `faults` how many pages it had to be given."""

    name: str
    time: float
    wall: float
    cpu: float
    collecting: float
    work: Work
    preempted: int
    faults: int


@dataclass(slots=True)
class Took:
    """How long each call of one callback took, seconds: by the clock, and of the processor's time. What the
    machine gives to others meanwhile is in the first and not in the second."""

    wall: array[float] = field(default_factory=lambda: array("d"))
    cpu: array[float] = field(default_factory=lambda: array("d"))


class Costs:
    """The costs of callbacks by name, and the dear calls. What Python's collector takes of them is known
    between `listen` and `close`. With `counts` the work of each call is kept in `each`; the lines of Python
    are those of the script, which are the same on every machine, and times mean nothing then."""

    def __init__(self) -> None:
        self.took: dict[str, Took] = {}
        self.dear: list[Call] = []
        self.collected = array("d")
        self.work = Work()
        self.counts = False
        self.each: list[tuple[str, Work]] = []
        self._collecting = 0.0
        self._began = 0.0

    def listen(self) -> None:
        """Measure the collector, too, from now on."""
        gc.callbacks.append(self._collector)

    def close(self) -> None:
        """Measure it no more."""
        with suppress(ValueError):
            gc.callbacks.remove(self._collector)

    def measure(self, name: str, act: Callable[[], None]) -> None:
        """Call `act` as the callback `name`."""
        if self.counts:
            self._count(name, act)
            return
        took = self.took.get(name)
        if took is None:
            took = self.took[name] = Took()
        sent, released, collecting = self.work.sent, self.work.released, self._collecting
        used = getrusage(RUSAGE_THREAD) if sys.platform == "linux" else None
        began, began_cpu = time.perf_counter(), time.thread_time()
        act()
        cpu = time.thread_time() - began_cpu
        wall = time.perf_counter() - began
        took.cpu.append(cpu)
        took.wall.append(wall)
        if self._collecting > collecting:
            self.collected.append(self._collecting - collecting)
        if cpu < DEAR and wall < LONG:
            return
        after = getrusage(RUSAGE_THREAD) if sys.platform == "linux" else None
        preempted, faults = (
            (after.ru_nivcsw - used.ru_nivcsw, after.ru_minflt - used.ru_minflt) if used and after else (0, 0)
        )
        work = Work(self.work.sent - sent, self.work.released - released, self.work.received)
        self.dear.append(Call(name, began, wall, cpu, self._collecting - collecting, work, preempted, faults))

    def _count(self, name: str, act: Callable[[], None]) -> None:
        work, ours = self.work, globals()["__builtins__"]
        work.sent = work.released = work.lines = 0

        def line(frame: FrameType, event: str, _: Any) -> Any:
            work.lines += event == "line"
            return line

        def called(frame: FrameType, event: str, _: Any) -> Any:
            return None if frame.f_globals.get("__builtins__") is ours else line  # the script has its own

        before = sys.gettrace()
        sys.settrace(called)
        try:
            act()
        finally:
            sys.settrace(before)
        self.each.append((name, replace(work)))

    def _collector(self, phase: str, _: dict[str, int]) -> None:
        if phase == "start":
            self._began = time.perf_counter()
        else:
            self._collecting += time.perf_counter() - self._began
