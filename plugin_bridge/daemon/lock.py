"""One daemon a user: a lock that the operating system lets go when the process ends, however it ends."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from plugin_bridge.errors import BridgeError

PATIENCE = 4
"""How often a lock is asked for before it is taken to be held for good."""


class InstanceLock:
    """Held from construction to `close`. BridgeError says which process holds it already. Not inherited by
    child processes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
        try:
            _insist(self._handle)
        except OSError:
            holder = os.read(self._handle, 32).strip().decode("ascii", "replace") or "unknown"
            os.close(self._handle)
            self._handle = -1
            raise BridgeError(
                f"the daemon runs already, as process {holder} (it holds {path}); "
                "plugin-bridge status says how it is"
            ) from None
        os.ftruncate(self._handle, 0)
        os.write(self._handle, f"{os.getpid()}\n".encode("ascii"))

    def close(self) -> None:
        """Let go. The file stays: taking it away could take away another's lock."""
        if self._handle >= 0:
            os.ftruncate(self._handle, 0)
            os.close(self._handle)
            self._handle = -1

    def __enter__(self) -> InstanceLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def is_held(path: Path) -> bool:
    """Whether a process holds the lock at `path`."""
    try:
        handle = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        _lock(handle)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def _insist(handle: int) -> None:
    """Lock; `is_held` of another process may be in the way for a moment."""
    for _ in range(PATIENCE - 1):
        with suppress(OSError):
            _lock(handle)
            return
        time.sleep(0.05)
    _lock(handle)


if sys.platform == "win32":
    import msvcrt

    _FAR = 1 << 30  # Windows locks what nobody may read, so a byte far behind the number is locked

    def _lock(handle: int) -> None:
        os.lseek(handle, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        finally:
            os.lseek(handle, 0, os.SEEK_SET)

else:
    import fcntl

    def _lock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
