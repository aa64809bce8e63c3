"""How a program that plays is told to end."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stopped_by_signals(end: Callable[[], None]) -> Iterator[None]:
    """While this is open, an interrupt or a request to end calls `end`: the session ends in order."""

    def told(number: int, frame: FrameType | None) -> None:
        end()

    wanted = [
        getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)
    ]
    wanted = [number for number in wanted if signal.getsignal(number) is not signal.SIG_IGN]  # nohup
    before = {number: signal.signal(number, told) for number in wanted}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
