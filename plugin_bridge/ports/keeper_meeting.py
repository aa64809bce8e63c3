"""Where a port keeper that has lost its daemon and the daemon that is started next find each other.

A socket of Linux' abstract names, which vanish with the process that listens. Both ends make sure that the
other is the same user's. Elsewhere there is none: there a keeper ends with its daemon.

Threads: none of its own.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path

from plugin_bridge.ports.peer import other_end, process_handle, process_handles_work

_AGAIN_SECONDS = 0.05


def meeting_name(folder: Path) -> str:
    """The name under which the daemon of this folder and its keeper meet; empty where they cannot:
    who takes a keeper over must be able to end it."""
    if sys.platform != "linux" or not process_handles_work():
        return ""
    which = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]
    return f"plugin-bridge-keeper-{os.getuid()}-{which}"


class Meeting:
    """The keeper's end. Nothing is raised: where the name is taken, by a keeper that ends just now, it is
    tried again when it is needed."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._listening: socket.socket | None = None
        self._listen()

    @property
    def possible(self) -> bool:
        """Whether there is a name at all."""
        return bool(self._name)

    def wait(self, seconds: float) -> socket.socket | None:
        """The line to a daemon that comes within this time."""
        if self._listening is None:
            self._listen()
        if self._listening is None:
            time.sleep(min(seconds, _AGAIN_SECONDS))
            return None
        self._listening.settimeout(seconds)
        with contextlib.suppress(OSError):
            line, _ = self._listening.accept()
            if _is_ours(line):
                return line
            line.close()
        return None

    def _listen(self) -> None:
        if not self._name:
            return
        listening = socket.socket(socket.AF_UNIX)
        try:
            listening.bind(_address(self._name))
            listening.listen()
        except OSError:
            listening.close()
        else:
            self._listening = listening


class LeftProcess:
    """A keeper's process that another daemon started. `handle` can be read once it has ended."""

    def __init__(self, pid: int, handle: int) -> None:
        self.pid, self._handle = pid, handle

    def wait(self, seconds: float | None = None) -> bool:
        """Whether it has ended by then."""
        return bool(select.select([self._handle], [], [], seconds)[0])

    def kill(self) -> None:
        """End it."""
        if sys.platform == "linux":
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)

    def close(self) -> None:
        """Give the handle back."""
        os.close(self._handle)


def left_keeper(name: str) -> tuple[socket.socket, LeftProcess] | None:
    """The line to a keeper that waits under this name, and its process; None where there is none. Returns at
    once."""
    if not name or sys.platform != "linux":
        return None
    line = socket.socket(socket.AF_UNIX)
    try:
        line.setblocking(False)
        line.connect(_address(name))
        process, user = other_end(line)
        if user != os.getuid():
            raise PermissionError(name)
        return line, LeftProcess(process, process_handle(process))
    except OSError:
        line.close()
        return None


def _address(name: str) -> str:
    return f"\0{name}"


def _is_ours(line: socket.socket) -> bool:
    try:
        return other_end(line)[1] == os.getuid()
    except OSError:
        return False
