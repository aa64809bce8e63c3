"""The one clock of the program: monotonic seconds, the same in every process of one machine.

`time.perf_counter` and not `time.monotonic`, because the latter moves in steps of 15.6 ms on Windows.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeAlias

Clock: TypeAlias = Callable[[], float]


def now() -> float:
    """Seconds since an arbitrary start; never goes back."""
    return time.perf_counter()
