"""What is written for each service manager, against what it documents, and what it is asked to do."""

from __future__ import annotations

import plistlib
import subprocess
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import pytest
from fakes.programs import program
from fakes.supervisor import UnitParser

from plugin_bridge.daemon.services.launchd import LABEL, LaunchAgent
from plugin_bridge.daemon.services.service import Done, Service, this_service
from plugin_bridge.daemon.services.systemd import NAME, UserUnit
from plugin_bridge.daemon.services.windows import NAMESPACE, TASK, ScheduledTask
from plugin_bridge.errors import BridgeError

COMMAND = ["/opt/my python/bin/python", "-P", "-m", "plugin_bridge.cli", "daemon"]


class Manager:
    """Notes what it is asked, and answers what a test says; the first answer whose words fit counts."""

    def __init__(self, **answers: Done) -> None:
        self.asked: list[list[str]] = []
        self.answers = answers

    def __call__(self, command: Sequence[str]) -> Done:
        self.asked.append(list(command))
        words = " ".join(command)
        return next((done for word, done in self.answers.items() if word in words), Done(0, ""))


def unit(folder: Path, manager: Manager, **environment: str) -> UserUnit:
    return UserUnit(manager, folder, lambda: COMMAND, lambda: environment)


def test_the_unit_says_what_systemd_documents(tmp_path: Path) -> None:
    found = UnitParser(unit(tmp_path, Manager(), JACK_DEFAULT_SERVER="my 50% $5").definition())
    service = found["Service"]
    assert service["Type"] == "notify"
    assert service["Restart"] == "on-failure"
    assert int(service["WatchdogSec"]) > 2
    assert float(service["RestartSec"]) < int(service["RestartMaxDelaySec"])
    assert service["ExecStart"] == '"/opt/my python/bin/python" "-P" "-m" "plugin_bridge.cli" "daemon"'
    assert service["Environment"] == '"JACK_DEFAULT_SERVER=my 50%% $5"'
    assert found["Unit"]["StartLimitIntervalSec"] == "0"  # it is never given up
    assert found["Install"]["WantedBy"] == "default.target"


def test_systemd_itself_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    there = UserUnit(Manager(), tmp_path)  # with the real command: it must exist
    there.file.write_bytes(there.definition())
    done = subprocess.run(
        [program("systemd-analyze"), "--user", "verify", str(there.file)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    about_us = [line for line in done.stderr.splitlines() if NAME in line]
    # RestartSteps came with systemd 254; older ones say that they do not know it and go on
    assert [
        line for line in about_us if "RestartSteps" not in line and "RestartMaxDelaySec" not in line
    ] == []


def test_a_unit_is_installed_twice_and_removed_twice(tmp_path: Path) -> None:
    manager = Manager()
    there = unit(tmp_path, manager)
    assert there.install()[0].startswith("wrote")
    assert there.install()[0].endswith("is as it should be")
    words = [" ".join(each[2:]) for each in manager.asked]
    assert words[:4] == ["show-environment", "daemon-reload", f"enable {NAME}", f"restart {NAME}"]
    assert words[4:8] == ["show-environment", "daemon-reload", f"enable {NAME}", f"start {NAME}"]
    assert there.uninstall() == [f"removed {there.file}"]
    assert f"disable --now {NAME}" in [" ".join(each[2:]) for each in manager.asked]
    assert there.uninstall()[0].endswith("nothing to do")
    assert not there.file.exists()


def test_without_a_manager_the_unit_waits_for_the_next_login(tmp_path: Path) -> None:
    manager = Manager(systemctl=Done(1, "Failed to connect to bus"))
    there = unit(tmp_path, manager)
    for _ in range(2):
        assert "from the next login on" in there.install()[1]
    wanted = tmp_path / "default.target.wants" / NAME
    assert wanted.resolve() == there.file.resolve()
    status = there.status()
    assert (status.installed, status.running) == (True, None)
    there.uninstall()
    assert not wanted.is_symlink()


def test_an_edited_unit_is_seen(tmp_path: Path) -> None:
    there = unit(tmp_path, Manager(**{"is-active": Done(0, "active")}))
    there.install()
    assert (there.status().installed, there.status().running) == (True, True)
    there.file.write_bytes(there.definition() + b"# mine\n")
    assert not there.status().installed
    assert "another version's or edited" in there.status().what


def test_what_the_manager_refuses_is_one_line(tmp_path: Path) -> None:
    there = unit(tmp_path, Manager(enable=Done(1, "Failed to enable unit:\nAccess denied")))
    with pytest.raises(BridgeError, match=r"systemctl --user enable plugin-bridge.service: Access denied"):
        there.install()


def test_the_agent_says_what_launchd_documents(tmp_path: Path) -> None:
    agent = LaunchAgent(Manager(), tmp_path, lambda: COMMAND, lambda: {"A": "b"})
    found = plistlib.loads(agent.definition())
    assert found["Label"] == LABEL == agent.file.stem
    assert found["ProgramArguments"] == COMMAND
    assert found["EnvironmentVariables"] == {"A": "b"}
    assert found["RunAtLoad"] is True
    assert found["KeepAlive"] == {"SuccessfulExit": False}
    kinds = {"ThrottleInterval": int, "ExitTimeOut": int, "StandardErrorPath": str, "ProcessType": str}
    assert all(type(found[key]) is kind for key, kind in kinds.items())
    assert found["ProcessType"] in ("Background", "Standard", "Adaptive", "Interactive")


def test_an_agent_is_loaded_and_unloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLUGIN_BRIDGE_HOME", str(tmp_path / "home"))
    manager = Manager(print=Done(0, "{\n\tstate = running\n}"))
    agent = LaunchAgent(manager, tmp_path, lambda: COMMAND, dict)
    agent.install()
    agent.install()
    assert [each[1] for each in manager.asked] == ["bootout", "bootstrap"] * 2
    assert agent.status().installed
    assert agent.status().running
    agent.uninstall()
    assert not agent.file.exists()


def _windows(tmp_path: Path, manager: Manager) -> ScheduledTask:
    user = {"USERDOMAIN": "STUDIO", "USERNAME": "Ann & Bob"}
    return ScheduledTask(manager, tmp_path, lambda: COMMAND, user)


def test_the_task_says_what_windows_documents(tmp_path: Path) -> None:
    task = ElementTree.fromstring(_windows(tmp_path, Manager()).definition().decode("utf-16"))
    space = {"t": NAMESPACE}

    def text(path: str) -> str | None:
        return task.findtext(path, namespaces=space)

    assert [each.tag.partition("}")[2] for each in task] == [
        "RegistrationInfo", "Triggers", "Principals", "Settings", "Actions",
    ]  # fmt: skip
    assert text("t:Triggers/t:LogonTrigger/t:UserId") == "STUDIO\\Ann & Bob"
    assert text("t:Settings/t:RestartOnFailure/t:Interval") == "PT1M"
    assert text("t:Settings/t:ExecutionTimeLimit") == "PT0S"
    assert text("t:Settings/t:MultipleInstancesPolicy") == "IgnoreNew"
    assert text("t:Settings/t:DisallowStartIfOnBatteries") == "false"
    assert text("t:Actions/t:Exec/t:Command") == COMMAND[0]
    assert text("t:Actions/t:Exec/t:Arguments") == "-P -m plugin_bridge.cli daemon"
    principal = task.find("t:Principals/t:Principal", space)
    actions = task.find("t:Actions", space)
    assert principal is not None
    assert actions is not None
    assert principal.get("id") == actions.get("Context")


def test_a_task_is_registered_in_place_of_an_earlier_one(tmp_path: Path) -> None:
    manager = Manager()
    task = _windows(tmp_path, manager)
    task.install()
    assert manager.asked[0] == ["schtasks", "/Create", "/TN", TASK, "/XML", str(task.file), "/F"]
    assert task.status().installed
    task.uninstall()
    assert ["schtasks", "/Delete", "/TN", TASK, "/F"] in manager.asked
    manager.answers["/Query"] = Done(1, "ERROR: The system cannot find the file specified.")
    assert task.uninstall() == [f"the task {TASK!r} is not there: nothing to do"]
    assert not task.status().installed


def test_each_system_has_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PLUGIN_BRIDGE_HOME", str(tmp_path))
    kinds: dict[str, type[Service]] = {"linux": UserUnit, "darwin": LaunchAgent, "win32": ScheduledTask}
    for platform, kind in kinds.items():
        assert isinstance(this_service(platform), kind)
    with pytest.raises(BridgeError, match="no service manager is known on plan9"):
        this_service("plan9")
