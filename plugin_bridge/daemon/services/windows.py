"""A task of Windows' scheduler, at the user's logon: the Task Scheduler schema (MS-TSCH 2.3), schtasks.exe.

Started again a minute after a failure, which is the shortest interval that the scheduler allows, and again
for a day; no time limit, on battery too, and never two at once.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from xml.etree import ElementTree

from plugin_bridge.daemon.folders import user_folders
from plugin_bridge.daemon.services.service import (
    Run,
    Service,
    ServiceStatus,
    daemon_command,
    run_command,
)

TASK = "Plugin Bridge"
NAMESPACE = "http://schemas.microsoft.com/windows/2004/02/mit/task"


class ScheduledTask(Service):
    """The task of the user who runs this. `environment` is this process's: the scheduler hands on none."""

    def __init__(
        self, run: Run = run_command, folder: Path | None = None,
        command: Callable[[], list[str]] = lambda: daemon_command(windowless=True),
        environment: Mapping[str, str] = os.environ,
    ) -> None:  # fmt: skip
        super().__init__((folder or user_folders().state) / "task.xml", run)
        self._command, self._environment = command, environment

    def definition(self) -> bytes:
        """The task as XML, in UTF-16, which schtasks wants."""
        program, *arguments = self._command()
        domain, name = (self._environment.get(each, "") for each in ("USERDOMAIN", "USERNAME"))
        user = f"{domain}\\{name}" if domain else name
        task = ElementTree.Element("Task", {"version": "1.3", "xmlns": NAMESPACE})
        _add(task, {
            "RegistrationInfo": {"Description": "A duet partner on your MIDI ports"},
            "Triggers": {"LogonTrigger": {"Enabled": "true", "UserId": user}},
            "Principals": {"Principal": {
                "UserId": user, "LogonType": "InteractiveToken", "RunLevel": "LeastPrivilege",
            }},
            "Settings": {
                "MultipleInstancesPolicy": "IgnoreNew",
                "DisallowStartIfOnBatteries": "false",
                "StopIfGoingOnBatteries": "false",
                "ExecutionTimeLimit": "PT0S",
                "Priority": "4",
                "RestartOnFailure": {"Interval": "PT1M", "Count": "999"},
            },
            "Actions": {"Exec": {"Command": program, "Arguments": subprocess.list2cmdline(arguments)}},
        })  # fmt: skip
        task[2][0].set("id", "Author")
        task[4].set("Context", "Author")
        ElementTree.indent(task)
        text = '<?xml version="1.0" encoding="UTF-16"?>\n' + ElementTree.tostring(task, encoding="unicode")
        return text.encode("utf-16")

    def status(self) -> ServiceStatus:
        """What the scheduler says. Its words for a state are in the language of the system, so whether it
        runs is not read from them."""
        registered = self._is_there()
        what = "registered" if registered else "not registered"
        return ServiceStatus(registered and self._is_written(), None, what, str(self.file))

    def _load(self, changed: bool) -> str:
        self._insist("schtasks", "/Create", "/TN", TASK, "/XML", str(self.file), "/F")
        self._insist("schtasks", "/Run", "/TN", TASK)
        return "it is started now, and at each logon"

    def _unload(self) -> None:
        self._run(["schtasks", "/End", "/TN", TASK])
        self._insist("schtasks", "/Delete", "/TN", TASK, "/F")

    def _is_there(self) -> bool:
        return self._run(["schtasks", "/Query", "/TN", TASK]).status == 0

    @property
    def _name(self) -> str:
        return f"the task {TASK!r}"


def _add(parent: ElementTree.Element, children: Mapping[str, object]) -> None:
    for name, value in children.items():
        element = ElementTree.SubElement(parent, name)
        if isinstance(value, Mapping):
            _add(element, value)
        else:
            element.text = str(value)
