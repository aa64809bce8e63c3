"""Letting the threads that play run before others, where the system lets the user have that.

On Linux the limits `rtprio` and `nice`, which audio users have. Python has one lock, and who sends waits for
whoever holds it: were a thread that often holds it put aside for another program's sake, notes would leave
late by as long as that takes. So all that play are real-time threads: those that send and receive, which
sleep but for a few microseconds an event, and below them the one that plans. What they start is none. Whoever
waits for a duet to go on that has broken off waits for a second's work: that, too, goes first.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

REALTIME, PLANNING = 5, 1
"""Of SCHED_FIFO and SCHED_RR: below what audio servers use, above everything ordinary."""
FAVOURED = -11
"""Niceness; PipeWire's own."""


def ask_for_realtime() -> None:
    """Let the calling thread, which sends or receives, run as soon as it can."""
    if hasattr(os, "sched_setscheduler"):
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(REALTIME))


def ask_for_favour() -> None:
    """Let the calling thread, which computes, run before ordinary ones. Where niceness is a whole process's,
    that is left."""
    if not hasattr(os, "sched_setscheduler"):
        return
    try:
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(PLANNING))
    except OSError:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), FAVOURED)


@contextlib.contextmanager
def hurried() -> Iterator[None]:
    """Let the calling thread, which computes, run before ordinary ones until the end of the block. What it
    starts is ordinary, afterwards too: who is not privileged cannot take that back, sched(7)."""
    if not hasattr(os, "sched_setscheduler"):
        yield
        return
    try:
        before = os.sched_getscheduler(0), os.sched_getparam(0)
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(PLANNING))
    except OSError:
        yield
        return
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            policy, parameters = before
            os.sched_setscheduler(0, policy | os.SCHED_RESET_ON_FORK, parameters)
