"""A supervisor that follows a systemd unit's rules, for machines whose systemd does not run for the user.

Understood are ExecStart, Environment, Type=notify, Restart=on-failure, RestartSec, WatchdogSec,
TimeoutStopSec and KillMode; a process that is silent for longer than WatchdogSec is killed, as systemd does.
With KillMode=process a stop is a SIGTERM to the main process, and what it leaves behind is left. Else
(control-group; here a process group) it is one to every process of the unit, also to those that are left when
the main one has died, and they have gone, or are killed, before it is started again.

Threads: one, which reads the notifications and watches the process.
"""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Mapping
from configparser import RawConfigParser
from contextlib import suppress
from pathlib import Path


class UnitParser(RawConfigParser):
    """Reads a unit: keys may come twice, and their case counts."""

    def __init__(self, unit: bytes) -> None:
        super().__init__(strict=False)
        self.read_string(unit.decode())

    def optionxform(self, optionstr: str) -> str:
        return optionstr


class FakeSupervisor:
    """Runs the unit from `with` to the end of the block. `started` and `ready` are clock seconds (monotonic)
    of each start and each word of readiness."""

    def __init__(self, unit: bytes, folder: Path, environment: Mapping[str, str]) -> None:
        service = UnitParser(unit)["Service"]
        assert (service["Type"], service["Restart"]) == ("notify", "on-failure")
        self._command = [
            each.replace("$$", "$").replace("%%", "%") for each in shlex.split(service["ExecStart"])
        ]
        self._pause = float(service["RestartSec"])
        self._watchdog = float(service["WatchdogSec"])
        self._patience = float(service["TimeoutStopSec"])
        self._main_only = service.get("KillMode") == "process"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(folder / "notify"))
        self._socket.settimeout(0.02)
        self._environment = {
            **environment,
            "NOTIFY_SOCKET": str(folder / "notify"),
            "WATCHDOG_USEC": str(int(self._watchdog * 1e6)),
        }  # fmt: skip
        self._log = (folder / "supervised.log").open("ab")
        self._stopping = threading.Event()
        self.process: subprocess.Popen[bytes] | None = None
        self.started: list[float] = []
        self.ready: list[float] = []
        self.signs_of_life = 0
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> FakeSupervisor:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        self._socket.close()
        self._log.close()

    def wait_ready(self, times: int, seconds: float = 30.0) -> None:
        """Until it has said for the `times`-th time that it is ready."""
        deadline = time.monotonic() + seconds
        while len(self.ready) < times:
            assert time.monotonic() < deadline, f"not ready: {Path(self._log.name).read_text()[-2000:]}"
            time.sleep(0.01)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.started.append(time.monotonic())
            self.process = subprocess.Popen(
                self._command, env={**os.environ, **self._environment}, stdout=self._log, stderr=self._log,
                start_new_session=True,
            )  # fmt: skip
            self._watch(self.process)
            if not self._main_only:
                self._clear(self.process.pid)
            if self.process.returncode == 0 or self._stopping.wait(self._pause):
                return

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        alive = time.monotonic() + 30.0
        while process.poll() is None:
            if self._stopping.is_set():
                if self._main_only:
                    process.terminate()
                else:
                    os.killpg(process.pid, signal.SIGTERM)
                process.wait(self._patience)
                return
            try:
                text = self._socket.recv(4096).decode()
            except TimeoutError:
                text = ""
            if "READY=1" in text:
                self.ready.append(time.monotonic())
                alive = time.monotonic()
            if "WATCHDOG=1" in text:
                self.signs_of_life += 1
                alive = time.monotonic()
            if time.monotonic() > alive + self._watchdog:
                process.kill()

    def _clear(self, group: int) -> None:
        """End what the main process has left behind."""
        deadline = time.monotonic() + self._patience
        number = signal.SIGTERM
        while members(group):
            with suppress(ProcessLookupError):
                os.killpg(group, number)
            number = signal.SIGTERM if time.monotonic() < deadline else signal.SIGKILL
            time.sleep(0.01)


def members(group: int) -> list[int]:
    """The processes of a group that live."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, of_group = path.read_text().rpartition(")")[2].split()[:3]
            if int(of_group) == group and state != "Z":
                found.append(int(path.parent.name))
    return found
