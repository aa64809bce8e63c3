"""The parts that make a process a daemon: its lock, its log, its word to the supervisor, its folders."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from plugin_bridge.cli import commands
from plugin_bridge.daemon import process
from plugin_bridge.daemon.folders import HOME_VARIABLE, Folders, make_private, user_folders
from plugin_bridge.daemon.lock import InstanceLock
from plugin_bridge.daemon.logs import for_people, last_lines, start_logging, stop_logging
from plugin_bridge.daemon.notify import Supervisor
from plugin_bridge.errors import BridgeError
from plugin_bridge.ports import priority

logger = logging.getLogger("plugin_bridge.daemon.test")


def test_the_second_one_is_told_who_holds_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "daemon.lock"
    with InstanceLock(path):
        with pytest.raises(BridgeError, match=rf"runs already, as process {os.getpid()} \(it holds {path}"):
            InstanceLock(path)
        script = "import sys; from pathlib import Path; from plugin_bridge.daemon.lock import InstanceLock\n"
        script += "InstanceLock(Path(sys.argv[1]))"
        done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True)
        assert f"process {os.getpid()}" in done.stderr
    with InstanceLock(path):
        assert path.read_text() == f"{os.getpid()}\n"


def test_a_process_that_is_killed_lets_go_of_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "daemon.lock"
    script = (
        "import sys, time; from pathlib import Path; from plugin_bridge.daemon.lock import InstanceLock\n"
    )
    script += "held = InstanceLock(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        process.kill()
        process.wait()
    InstanceLock(path).close()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "daemon.log"
    start_logging(path, "info", 0.001, 3)
    yield path
    stop_logging()


def test_a_line_of_the_log_is_json_and_reads_well(log: Path) -> None:
    logger.debug("not this")
    try:
        raise ValueError("broken")
    except ValueError:
        logger.exception("a port %r was lost", "Keys", extra={"port": "Keys"})
    (line,) = last_lines(log, 10)
    row = json.loads(line)
    assert row["message"] == "a port 'Keys' was lost"
    assert (row["level"], row["port"]) == ("error", "Keys")
    assert "ValueError: broken" in row["error"]
    assert "a port 'Keys' was lost" in for_people(line)
    assert for_people("no json") == "no json"


def test_logs_are_begun_anew_and_the_oldest_go(log: Path) -> None:
    for index in range(100):
        logger.info("line %d", index)
    files = sorted(log.parent.glob("daemon.log*"))
    assert len(files) == 4
    assert all(each.stat().st_size <= 1000 for each in files)
    messages = [json.loads(line)["message"] for line in last_lines(log, 10)]
    assert messages == [f"line {index}" for index in range(90, 100)]


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_nobody_else_reads_the_log_or_the_folder(log: Path, tmp_path: Path) -> None:
    for _ in range(100):
        logger.info("x" * 50)
    assert {stat.S_IMODE(each.stat().st_mode) for each in log.parent.glob("daemon.log*")} == {0o600}
    make_private(tmp_path / "a" / "b")
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700


def test_all_folders_can_be_in_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path))
    folders = user_folders()
    for each in (folders.config_file, folders.token_file, folders.takes, folders.connections_file):
        assert each.is_relative_to(tmp_path)


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="the protocol is systemd's")
def test_the_supervisor_is_told(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(path)
        heard.settimeout(5)
        supervisor = Supervisor({"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "3000000"})
        assert supervisor.interval == 1.5
        supervisor.ready("playing")
        supervisor.alive()
        supervisor.stopping()
        assert [heard.recv(100) for _ in range(3)] == [
            b"READY=1\nSTATUS=playing", b"WATCHDOG=1", b"STOPPING=1",
        ]  # fmt: skip


@pytest.mark.parametrize(
    "environment",
    [{}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "5", "WATCHDOG_PID": "1"}],
)
def test_without_a_supervisor_nothing_is_told(environment: dict[str, str]) -> None:
    supervisor = Supervisor(environment)
    assert supervisor.interval is None
    supervisor.ready("playing")


def test_a_supervisor_that_has_gone_stops_nothing(tmp_path: Path) -> None:
    Supervisor({"NOTIFY_SOCKET": str(tmp_path / "gone")}).alive()


def test_only_where_the_last_daemon_died_the_start_goes_before_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurrying: list[bool] = [False]
    seen: list[bool] = []

    @contextlib.contextmanager
    def hurried() -> Iterator[None]:
        hurrying[0] = True
        yield
        hurrying[0] = False

    def run_daemon(folders: Folders, tell: object, started: Callable[[], None]) -> None:
        seen.append(hurrying[0])
        started()
        seen.append(hurrying[0])

    monkeypatch.setattr(process, "run_daemon", run_daemon)
    monkeypatch.setattr(priority, "hurried", hurried)
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path))
    address = user_folders().address_file
    address.parent.mkdir()
    for _ in range(2):
        assert CliRunner().invoke(commands, ["daemon"]).exit_code == 0
        address.touch()  # which a daemon that ends in order takes away
    assert seen == [False, False, True, False]
