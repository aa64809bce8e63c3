"""An agent of macOS's launchd, for the user's logins: launchd.plist(5), launchctl(1).

Started again when it ends by a failure (KeepAlive with SuccessfulExit false), not sooner than
ThrottleInterval seconds after the last start; launchd has no growing back-off and no watchdog.
"""

from __future__ import annotations

import os
import plistlib
from collections.abc import Callable, Mapping
from pathlib import Path

from plugin_bridge.daemon.folders import user_folders
from plugin_bridge.daemon.services.service import (
    Run,
    Service,
    ServiceStatus,
    daemon_command,
    daemon_environment,
    run_command,
)

LABEL = "org.plugin-bridge.daemon"
THROTTLE_SECONDS = 2


class LaunchAgent(Service):
    """The agent in the user's library."""

    def __init__(
        self, run: Run = run_command, folder: Path | None = None,
        command: Callable[[], list[str]] = daemon_command,
        environment: Callable[[], Mapping[str, str]] = daemon_environment,
    ) -> None:  # fmt: skip
        super().__init__((folder or Path.home() / "Library" / "LaunchAgents") / f"{LABEL}.plist", run)
        self._command, self._environment = command, environment
        self._domain = f"gui/{os.getuid() if hasattr(os, 'getuid') else 0}"

    def definition(self) -> bytes:
        """The property list."""
        output = str(user_folders().state / "launchd.log")
        return plistlib.dumps({
            "Label": LABEL,
            "ProgramArguments": self._command(),
            "EnvironmentVariables": dict(self._environment()),
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False},
            "ThrottleInterval": THROTTLE_SECONDS,
            "ExitTimeOut": 15,
            "ProcessType": "Interactive",  # no throttling of timers: notes are due on time
            "StandardOutPath": output,
            "StandardErrorPath": output,
        })  # fmt: skip

    def status(self) -> ServiceStatus:
        """What launchd says."""
        done = self._run(["launchctl", "print", f"{self._domain}/{LABEL}"])
        running = done.status == 0 and "state = running" in done.output
        what = "running" if running else "loaded, not running" if done.status == 0 else "not loaded"
        return ServiceStatus(self._is_written(), running, what, str(self.file))

    def _load(self, changed: bool) -> str:
        user_folders().state.mkdir(parents=True, exist_ok=True)  # for the output
        self._unload()
        self._insist("launchctl", "bootstrap", self._domain, str(self.file))
        return "it is started now, and at each login"

    def _unload(self) -> None:
        self._run(["launchctl", "bootout", f"{self._domain}/{LABEL}"])  # fails where none is loaded
