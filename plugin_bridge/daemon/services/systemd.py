"""A unit of the user's systemd: systemd.unit(5), systemd.service(5), systemd.exec(5).

It says when it is ready and that it is alive (sd_notify(3)); a daemon that falls silent for half a minute, or
ends by a failure, is started again, after a fifth of a second at first and up to half a minute when it keeps
failing (RestartSteps, from systemd 254 on; older ones stay at that). It is never given up. What it leaves
behind when it dies, the port keeper, lives on for the next one (KillMode).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from plugin_bridge.daemon.services.service import (
    Run,
    Service,
    ServiceStatus,
    daemon_command,
    daemon_environment,
    run_command,
)

NAME = "plugin-bridge.service"
_UNIT = """\
# Written by plugin-bridge service install; an edit is lost with the next one: use systemctl --user edit.
[Unit]
Description=Plugin Bridge: a duet partner on your MIDI ports
After=sound.target pipewire.service
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={command}
{environment}Restart=on-failure
RestartSec=0.2
RestartSteps=5
RestartMaxDelaySec=30
WatchdogSec=30
KillMode=process
TimeoutStartSec=60
TimeoutStopSec=15
NoNewPrivileges=yes
LimitRTPRIO=20
LimitMEMLOCK=infinity

[Install]
WantedBy=default.target
"""


class UserUnit(Service):
    """The unit in the user's folder."""

    def __init__(
        self, run: Run = run_command, folder: Path | None = None,
        command: Callable[[], list[str]] = daemon_command,
        environment: Callable[[], Mapping[str, str]] = daemon_environment,
    ) -> None:  # fmt: skip
        home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
        super().__init__((folder or home / "systemd" / "user") / NAME, run)
        self._wanted = self.file.parent / "default.target.wants" / NAME
        self._command, self._environment = command, environment

    def definition(self) -> bytes:
        """The unit."""
        lines = [f"Environment={_quoted(f'{name}={value}')}\n" for name, value in self._environment().items()]
        command = " ".join(_quoted(word).replace("$", "$$") for word in self._command())
        return _UNIT.format(command=command, environment="".join(lines)).encode()

    def status(self) -> ServiceStatus:
        """What systemd says."""
        installed = self._is_written()
        changed = self.file.is_file() and not installed
        if not self._manager():
            what = "systemd does not run for this user" + ("; the unit is another one" if changed else "")
            return ServiceStatus(installed, None, what, str(self.file))
        what = self._run(["systemctl", "--user", "is-active", NAME]).output or "unknown"
        running = what == "active"
        if changed:
            what += "; the unit is another version's or edited: plugin-bridge service install writes it anew"
        return ServiceStatus(installed, running, what, str(self.file))

    def _load(self, changed: bool) -> str:
        if not self._manager():
            self._wanted.parent.mkdir(parents=True, exist_ok=True)  # what `systemctl enable` does
            self._wanted.unlink(missing_ok=True)
            self._wanted.symlink_to(self.file)
            return "systemd does not run for this user now: the unit counts from the next login on"
        self._systemctl("daemon-reload")
        self._systemctl("enable", NAME)
        self._systemctl("restart" if changed else "start", NAME)  # a duet that is played is not interrupted
        return "it is started now, and at each login"

    def _unload(self) -> None:
        if not self._manager():
            self._wanted.unlink(missing_ok=True)
            return
        self._systemctl("disable", "--now", NAME)
        self.file.unlink()
        self._systemctl("daemon-reload")

    def _manager(self) -> bool:
        return self._run(["systemctl", "--user", "show-environment"]).status == 0

    def _systemctl(self, *words: str) -> None:
        self._insist("systemctl", "--user", *words)


def _quoted(text: str) -> str:
    """A word, quoted, with specifiers taken literally. (Variables are known to ExecStart= only.)"""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'
