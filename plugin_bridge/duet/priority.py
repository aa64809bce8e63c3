"""Letting the threads that play run before others, where the system lets the user have that.

On Linux the limits `rtprio` and `nice`, which audio users have. The thread that sends sleeps but for a few
microseconds an event; the one that plans computes, and is only favoured: were it held up by other programs
while it holds Python's lock, the one that sends would wait for it.
"""

from __future__ import annotations

import contextlib
import os
import threading

REALTIME = 5
"""Of SCHED_FIFO: below what audio servers use, above everything ordinary."""
FAVOURED = -11
"""Niceness; PipeWire's own."""


def ask_for_realtime() -> None:
    """Let the calling thread run as soon as it can."""
    if hasattr(os, "sched_setscheduler"):
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(REALTIME))


def ask_for_favour() -> None:
    """Let the calling thread run before ordinary ones. Where niceness is a whole process's, that is left."""
    if hasattr(os, "sched_setscheduler"):
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), FAVOURED)
