"""What every service manager has in common: a definition in a file, and commands that make it count."""

from __future__ import annotations

import os
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from plugin_bridge.daemon.folders import HOME_VARIABLE
from plugin_bridge.errors import BridgeError
from plugin_bridge.files import atomic_path

COMMAND_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Done:
    """What a command of the service manager answered."""

    status: int
    output: str


Run: TypeAlias = Callable[[Sequence[str]], Done]
"""Runs a command; status 127 where it is not there."""


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """`installed`: the definition is there, as this program writes it. `running`: None where nobody says."""

    installed: bool
    running: bool | None
    what: str
    file: str


class Service(ABC):
    """One service manager: it reads a definition from `file`, and its commands, which `run` runs, make that
    count."""

    def __init__(self, file: Path, run: Run) -> None:
        self.file, self._run = file, run

    @abstractmethod
    def definition(self) -> bytes:
        """What stands in the file."""

    @abstractmethod
    def status(self) -> ServiceStatus:
        """What is there, by what the manager says."""

    def install(self) -> list[str]:
        """Write the definition and make it count; what was done, in words. May be repeated. BridgeError when
        the manager refuses it."""
        changed = not self._is_written()
        return [self._write(), self._load(changed)]

    def uninstall(self) -> list[str]:
        """Stop the daemon and take the definition away. May be repeated."""
        if not self._is_there():
            self.file.unlink(missing_ok=True)
            return [f"{self._name} is not there: nothing to do"]
        self._unload()
        self.file.unlink(missing_ok=True)
        return [f"removed {self._name}"]

    @abstractmethod
    def _load(self, changed: bool) -> str:
        """Make the definition count, in place of an earlier one where it has `changed`; what was done."""

    @abstractmethod
    def _unload(self) -> None:
        """Stop the daemon, and start it no more."""

    def _is_there(self) -> bool:
        return self.file.is_file()

    @property
    def _name(self) -> str:
        return str(self.file)

    def _is_written(self) -> bool:
        return self.file.is_file() and self.file.read_bytes() == self.definition()

    def _write(self) -> str:
        """Write the definition where it differs; what was done."""
        if self._is_written():
            return f"{self.file} is as it should be"
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(self.file) as temporary:
            temporary.write_bytes(self.definition())
        return f"wrote {self.file}"

    def _insist(self, *command: str) -> None:
        """Run a command that must succeed. BridgeError says what it answered."""
        done = self._run(command)
        if done.status != 0:
            lines = done.output.splitlines() or [f"it ended with {done.status}"]
            raise BridgeError(f"{' '.join(command)}: {lines[-1]}")


def run_command(command: Sequence[str]) -> Done:
    """Run a command and wait for it."""
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command, no shell
            list(command),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=COMMAND_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        return Done(127, f"{command[0]} is not there")
    except (OSError, subprocess.TimeoutExpired) as error:
        return Done(1, str(error))
    return Done(done.returncode, (done.stdout + done.stderr).strip())


def daemon_command(windowless: bool = False) -> list[str]:
    """The command that is the daemon, by this very Python; `-P` keeps it from looking where it is started."""
    python = Path(sys.executable)
    if windowless and (other := python.with_name("pythonw.exe")).is_file():
        python = other
    return [str(python), "-P", "-m", "plugin_bridge.cli", "daemon"]


def daemon_environment() -> dict[str, str]:
    """What the daemon needs of the present environment: which JACK server, and which folder is ours."""
    names = (HOME_VARIABLE, "JACK_DEFAULT_SERVER")
    return {name: os.environ[name] for name in names if os.environ.get(name)}


def this_service(platform: str = sys.platform) -> Service:
    """The service manager of this system. BridgeError where it is none that is known."""
    if platform == "win32":
        from plugin_bridge.daemon.services.windows import ScheduledTask

        return ScheduledTask()
    if platform == "darwin":
        from plugin_bridge.daemon.services.launchd import LaunchAgent

        return LaunchAgent()
    if platform == "linux":
        from plugin_bridge.daemon.services.systemd import UserUnit

        return UserUnit()
    raise BridgeError(
        f"no service manager is known on {platform}: start plugin-bridge daemon at logon yourself"
    )
