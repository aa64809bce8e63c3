"""The daemon as a process: everything put together, until it is told to end.

Threads: the main thread looks once a second after what changes slowly (configuration, connections, takes,
the supervisor's watchdog). The others are described where they are made: `patchbay`, `session`, `bridge` and
`server`.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Generic, TypeVar

from plugin_bridge import memory
from plugin_bridge.daemon.address import Address, write_address
from plugin_bridge.daemon.config import Config, read_config
from plugin_bridge.daemon.folders import Folders, make_private
from plugin_bridge.daemon.lock import InstanceLock
from plugin_bridge.daemon.logs import start_logging, stop_logging
from plugin_bridge.daemon.notify import Supervisor
from plugin_bridge.daemon.saved_connections import read_connections
from plugin_bridge.daemon.token import make_token
from plugin_bridge.duet.stopping import stopped_by_signals
from plugin_bridge.errors import BridgeError
from plugin_bridge.ports.connections import Connections
from plugin_bridge.ports.keeper_meeting import meeting_name
from plugin_bridge.ports.kept_patchbay import KeptPatchbay
from plugin_bridge.ports.patch_view import Patches
from plugin_bridge.ports.patchbay import Patchbay
from plugin_bridge.ports.port_system import PortSystem
from plugin_bridge.ports.transport import Transport

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
_Value = TypeVar("_Value")


class Watched(Generic[_Value]):
    """A file that is read again when it has changed. What is wrong in it is logged, and changes nothing."""

    def __init__(
        self, path: Path, read: Callable[[Path], _Value], changed: Callable[[_Value], object]
    ) -> None:
        self._path, self._read, self._changed = path, read, changed
        self._seen = self._mark()

    def look(self) -> None:
        """Read it again if it has changed."""
        mark = self._mark()
        if mark == self._seen:
            return
        self._seen = mark
        try:
            self._changed(self._read(self._path))
        except BridgeError as error:
            logger.error("%s; all stays as it was", error)

    def _mark(self) -> tuple[int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size


class Daemon:
    """All of it, from `with` to the end of the block. BridgeError when it cannot be: another one runs, the
    configuration is wrong, the folders cannot be written. The ports are kept by a process of their own, but
    for those of a `system`, which is then in this one."""

    def __init__(self, folders: Folders, *, system: PortSystem | None = None, log: bool = True) -> None:
        self.folders = folders
        self._system, self._log = system, log
        self._watched: tuple[Watched[Config], Watched[Connections]]
        self._stack = ExitStack()

    def __enter__(self) -> Daemon:
        with ExitStack() as stack:
            self._open(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def look(self) -> None:
        """What is to be done once a second."""
        for each in self._watched:
            each.look()
        self.bridge.takes.tidy()

    @property
    def well(self) -> bool:
        """Whether the supervisor may be told that all is well."""
        return self.server.alive and not self.bridge.hangs()

    def _open(self, stack: ExitStack) -> None:
        folders = self.folders
        make_private(folders.state)
        folders.config.mkdir(parents=True, exist_ok=True)
        stack.enter_context(InstanceLock(folders.lock_file))
        config = read_config(folders.config_file)
        connections = read_connections(folders.connections_file)
        if self._log:
            level, megabytes, files = (config.get("log", each) for each in ("level", "megabytes", "files"))
            start_logging(folders.log_file, level, megabytes, files)
            stack.callback(stop_logging)
        names = config.get("ports", "input"), config.get("ports", "output")
        patchbay: Patches = (
            KeptPatchbay(*names, connections, _transport(config), meeting=meeting_name(folders.state))
            if self._system is None
            else Patchbay(self._system, *names, connections)
        )
        self.patchbay = stack.enter_context(patchbay)
        self._open_rest(stack, config, patchbay)

    def _open_rest(self, stack: ExitStack, config: Config, patchbay: Patches) -> None:
        """The duet, and the API after it. What they need is loaded here, while the port keeper opens the
        ports: after a failure it is half a second less until the partner plays again."""
        from plugin_bridge.daemon.bridge import Bridge
        from plugin_bridge.duet.knobs import Knobs

        folders = self.folders
        takes = (
            Path(config.get("takes", "folder")).expanduser()
            if config.get("takes", "folder")
            else folders.takes
        )
        self.bridge = Bridge(config, patchbay, takes, knobs=Knobs(folders.knobs_file))
        stack.callback(self.bridge.stop)
        self.bridge.start()
        self._open_api(stack, config, patchbay)
        self._watched = (
            Watched(folders.config_file, read_config, self.bridge.apply),
            Watched(folders.connections_file, read_connections, patchbay.follow),
        )

    def _open_api(self, stack: ExitStack, config: Config, patchbay: Patches) -> None:
        from plugin_bridge.daemon.api import make_app
        from plugin_bridge.daemon.control import Control
        from plugin_bridge.daemon.page_files import page_files
        from plugin_bridge.daemon.server import Server, bind, hosts_of

        folders = self.folders
        token = make_token(folders.token_file)
        listening = bind(config.get("api", "port"))
        stack.callback(listening.close)
        port = listening.getsockname()[1]
        self.control = Control(self.bridge, patchbay, folders.connections_file)
        self.server = Server(make_app(self.control, hosts_of(port), token, page_files()), listening)
        self.server.start()
        stack.callback(self.server.stop)
        memory.set_apart()  # the duet plays already: no time for a search
        self.address = Address(os.getpid(), port)
        write_address(self.address, folders.address_file)
        stack.callback(lambda: folders.address_file.unlink(missing_ok=True))


def run_daemon(
    folders: Folders, tell: Callable[[str], None], started: Callable[[], None] = lambda: None
) -> None:
    """Be the daemon until a signal ends it. When it is ready, `started` is called and `tell` gets a line."""
    began = time.monotonic()
    supervisor = Supervisor()
    stop = threading.Event()
    with stopped_by_signals(stop.set):
        with Daemon(folders) as daemon:
            started()
            ready = time.monotonic() - began
            logger.info(
                "ready in %.2f s at %s", ready, daemon.address.url, extra={"ready_s": round(ready, 3)}
            )
            tell(f"ready at {daemon.address.url}; plugin-bridge page opens it")
            supervisor.ready(f"at {daemon.address.url}")
            patience = min(supervisor.interval or LOOK_SECONDS, LOOK_SECONDS)
            while not stop.wait(patience):
                daemon.look()
                if daemon.well:
                    supervisor.alive()
                else:
                    logger.error("the duet or the API hangs: the supervisor is not told that all is well")
            supervisor.stopping()
        tell("ended")


def _transport(config: Config) -> Transport | None:
    """The transport to use; None: what there is."""
    chosen: Transport | None = config.get("ports", "transport")
    return None if chosen not in ("alsa", "jack") else chosen
