"""Tells whether the JACK server that this process talks to is still running, and which clients it has.

Needed because libjack and RtMidi do not: once the server is gone, RtMidi's output fills its buffer and then
spins for ever inside one call, with Python's lock held. A server that runs but has stalled is not noticed:
the buffer then lasts for 16 kB, some 2300 notes.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import sys
from pathlib import Path

from plugin_bridge.ports.peer import other_end, process_handle

_CONNECT_SECONDS = 1.0
_SHARED = Path("/dev/shm")  # noqa: S108


class JackWatch:
    """Holds a process handle of the server. `gone` costs microseconds and may be asked from any thread."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._gone = False

    @classmethod
    def of_running_server(cls) -> JackWatch | None:
        """A watch on the server that libjack would use, or None where it cannot be watched.

        Works with jack2 on Linux, whose server listens on a socket of a known name.
        """
        for path in _socket_paths():
            with contextlib.suppress(OSError):
                return cls(_process_handle(path))
        return None

    @property
    def handle(self) -> int:
        """The process handle, which can be read once the server has ended."""
        return self._handle

    def gone(self) -> bool:
        """Whether the server has ended."""
        if not self._gone and self._handle >= 0:
            poll = select.poll()  # a new one each time: a poll object serves one thread at a time
            poll.register(self._handle, select.POLLIN)
            self._gone = bool(poll.poll(0))
        return self._gone

    def close(self) -> None:
        """Give the handle back; `gone` keeps its last answer."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def client_marks() -> dict[str, int]:
    """The clients of the server that libjack would use, each with a number that another client of the same
    name does not have: the inode of its semaphore. Empty where that cannot be seen; takes microseconds, where
    asking JACK for its ports takes milliseconds.

    Works with jack2 on Linux, which makes a named semaphore for each client.
    """
    if sys.platform != "linux":
        return {}
    begin = f"jack_sem.{os.getuid()}_{_server_name()}_"
    try:
        with os.scandir(_SHARED) as entries:
            return {
                each.name.removeprefix(begin): each.inode() for each in entries if each.name.startswith(begin)
            }
    except OSError:
        return {}


def _server_name() -> str:
    return os.environ.get("JACK_DEFAULT_SERVER", "default")


def _socket_paths() -> list[Path]:
    if sys.platform != "linux":
        return []
    server = _server_name()
    return [_SHARED / f"jack_{server}_{os.getuid()}_0", _SHARED / f"jack_{server}_0"]


def _process_handle(path: Path) -> int:
    """A handle of the process that listens at `path`; OSError where there is none or it is hidden."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_CONNECT_SECONDS)
        connection.connect(str(path))
        process, _ = other_end(connection)
    return process_handle(process)
