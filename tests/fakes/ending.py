"""Ending a program that has started others."""

from __future__ import annotations

import signal
import sys
from types import FrameType


def unwind_when_told_to_end() -> None:
    """From now on SIGTERM raises SystemExit, as Ctrl-C raises KeyboardInterrupt, so that what was started is
    ended."""

    def told(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, told)
