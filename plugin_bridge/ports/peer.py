"""Who is at the other end of a local socket, and a handle of its process: unix(7), pidfd_open(2).

Both of Linux. OSError elsewhere, where a kernel or a container refuses it, and where Python was built
without it.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import sys

_CREDENTIALS = struct.Struct("3i")  # process, user, group


def other_end(line: socket.socket) -> tuple[int, int]:
    """The process and the user at the other end."""
    if sys.platform != "linux":
        raise OSError("who is at the other end is known on Linux only")
    told = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    process, user, _ = _CREDENTIALS.unpack(told)
    if process <= 0:
        raise OSError("the other end is outside this process namespace")
    return process, user


def process_handle(process: int) -> int:
    """A handle of a process, which can be read once it has ended."""
    if sys.platform != "linux" or not hasattr(os, "pidfd_open"):
        raise OSError("there are no process handles here")
    return os.pidfd_open(process)


def process_handles_work() -> bool:
    """Whether processes can be watched and ended by handles here."""
    if sys.platform != "linux" or not hasattr(signal, "pidfd_send_signal"):
        return False
    try:
        handle = process_handle(os.getpid())
    except OSError:
        return False
    try:
        signal.pidfd_send_signal(handle, 0)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True
