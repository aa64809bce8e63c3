"""The HTTP server: uvicorn in a thread of its own, on loopback and nowhere else."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import sys
import threading

import uvicorn
from starlette.types import ASGIApp

from plugin_bridge.daemon.address import LOOPBACK
from plugin_bridge.errors import BridgeError

logger = logging.getLogger(__name__)

STOP_SECONDS = 5.0


def bind(port: int) -> socket.socket:
    """A socket on loopback at `port`; where that is taken, at any that is free, and a warning is logged.
    BridgeError when there is none."""
    for attempt in dict.fromkeys((port, 0)):
        found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if sys.platform == "win32":
            found.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind((LOOPBACK, attempt))
        except OSError as error:
            found.close()
            if error.errno not in (errno.EADDRINUSE, errno.EACCES) or attempt == 0:
                raise BridgeError(f"no port of {LOOPBACK} can be had: {error.strerror}") from error
            logger.warning("port %d is taken by another program: taking any that is free", port)
            continue
        return found
    raise AssertionError("unreachable")


def hosts_of(port: int) -> frozenset[str]:
    """The `Host` headers under which a server at `port` may be asked."""
    return frozenset({f"{LOOPBACK}:{port}", f"localhost:{port}"})


class _QuietServer(uvicorn.Server):
    """Sleeps until it is to end; uvicorn's own loop, which also keeps a date that is not sent here, wakes the
    processor ten times a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending = asyncio.Event()

    def end(self) -> None:
        """End soon. May be called from any thread, and before it serves."""
        self.should_exit = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # it has ended already
                self._loop.call_soon_threadsafe(self._ending.set)

    async def main_loop(self) -> None:
        self._loop = asyncio.get_running_loop()
        if not self.should_exit:
            await self._ending.wait()


class Server:
    """Serves `app` on `listening` from `start` to `stop`."""

    def __init__(self, app: ASGIApp, listening: socket.socket) -> None:
        config = uvicorn.Config(
            app, loop="asyncio", http="h11", ws="websockets-sansio", lifespan="off", log_config=None,
            access_log=False, server_header=False, date_header=False, ws_max_size=4096,
            limit_concurrency=64, backlog=64, timeout_keep_alive=15, timeout_graceful_shutdown=1,
            h11_max_incomplete_event_size=16 * 1024,
            ws_per_message_deflate=False,  # loopback is fast, and a compressor takes 300 KB a page
        )  # fmt: skip
        self._server = _QuietServer(config)
        self._listening = listening
        self._thread = threading.Thread(target=self._run, name="api", daemon=True)

    @property
    def alive(self) -> bool:
        """Whether it serves."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Serve from now on. Connections made before are answered too."""
        self._listening.listen(64)
        self._thread.start()

    def stop(self) -> None:
        """End; open requests get a second."""
        self._server.end()
        self._thread.join(STOP_SECONDS)
        if self._thread.is_alive():
            logger.error("the API does not end")
        self._listening.close()

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._listening])
        except Exception:
            logger.exception("the API failed")
