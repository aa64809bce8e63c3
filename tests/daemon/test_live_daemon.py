"""The daemon as its supervisor runs it: from its start to the first note, and through a kill -9."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.jack import JackServer, no_live_ports, start_jack, stop_jack
from fakes.stage import Stage
from fakes.supervisor import FakeSupervisor, members

from plugin_bridge.daemon.client import NO_DAEMON
from plugin_bridge.daemon.folders import HOME_VARIABLE
from plugin_bridge.daemon.services.systemd import UserUnit

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(sys.platform != "linux", reason="its supervisor finds processes in /proc"),
]


@pytest.fixture
def jack_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[JackServer]:
    """A server that does not wait for its clients: here some are killed."""
    try:
        server = start_jack(f"pbdaemon{os.getpid()}", tmp_path / "jackd.log", waits=False)
    except RuntimeError as error:
        no_live_ports(str(error))
    monkeypatch.setenv("JACK_DEFAULT_SERVER", server.name)
    monkeypatch.setenv("JACK_NO_START_SERVER", "1")
    yield server
    stop_jack(server)


@pytest.fixture
def stage(jack_server: JackServer) -> Iterator[Stage]:
    found = Stage()
    yield found
    found.close()


@pytest.fixture
def home(tmp_path: Path, jack_server: JackServer) -> dict[str, str]:
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "config.toml").write_text('[api]\nport = 0\n[controls]\nmode = "continuous"\n')
    (folder / "connections.toml").write_text('listen = ["Stage Keys"]\nplay = ["Stage Synth"]\n')
    return {**jack_server.env, HOME_VARIABLE: str(folder)}


def run(home: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "plugin_bridge.cli", *words]
    return subprocess.run(command, env=home, capture_output=True, text=True, timeout=60, check=False)


def wait_for_notes(stage: Stage, since: float, count: int, seconds: float) -> float:
    deadline = time.monotonic() + seconds
    while len(found := stage.notes_since(since)) < count:
        assert time.monotonic() < deadline, "the partner does not play"
        time.sleep(0.01)
    return found[count - 1]


def wait_for_sweep(stage: Stage, since: float) -> float:
    """When each of the 128 notes had been turned off after `since`."""
    deadline = time.monotonic() + 30.0
    while True:
        off: set[int] = set()
        for when, message in list(stage.rows):
            if when > since and message[0] == 0x80:
                off.add(message[1])
                if len(off) == 128:
                    return when
        assert time.monotonic() < deadline, "not everything was swept"
        time.sleep(0.01)


def test_killed_in_the_middle_of_a_note_its_notes_end_and_the_duet_goes_on(
    home: dict[str, str], stage: Stage, tmp_path: Path
) -> None:
    unit = UserUnit(folder=tmp_path).definition()
    with FakeSupervisor(unit, tmp_path, home) as supervisor:
        supervisor.wait_ready(1)
        first = wait_for_notes(stage, supervisor.started[0], 8, 30.0)
        assert first > supervisor.ready[0]
        while stage.sounding() == 0:
            time.sleep(0.001)
        assert supervisor.process is not None
        main = supervisor.process.pid
        keeper = set(members(main)) - {main}
        supervisor.process.send_signal(signal.SIGKILL)
        killed = time.monotonic()
        supervisor.wait_ready(2)
        back = wait_for_notes(stage, supervisor.ready[1], 1, 30.0)
        wait_for_sweep(stage, killed)
        assert len(keeper) == 1
        assert set(members(main)) == keeper  # its ports are still there, and what is connected to them
        assert members(supervisor.process.pid) == [supervisor.process.pid]  # and there is no second one
        assert supervisor.started[1] - killed < 5.0
        assert back > supervisor.ready[1]
        deadline = time.monotonic() + 5
        while supervisor.signs_of_life == 0 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert supervisor.signs_of_life > 0
    assert not members(main)
    time.sleep(0.3)
    assert stage.sounding() == 0


def test_killed_under_a_unit_that_ends_what_is_left_the_duet_goes_on_as_soon(
    home: dict[str, str], stage: Stage, tmp_path: Path
) -> None:
    """As an earlier version wrote it, or somebody by hand."""
    unit = UserUnit(folder=tmp_path).definition().replace(b"KillMode=process\n", b"")
    with FakeSupervisor(unit, tmp_path, home) as supervisor:
        wait_for_notes(stage, 0.0, 8, 30.0)
        assert supervisor.process is not None
        main = supervisor.process.pid
        supervisor.process.send_signal(signal.SIGKILL)
        killed = time.monotonic()
        supervisor.wait_ready(2)
        assert not members(main)
        assert supervisor.started[1] - killed < 10.0  # systemd's patience, and the keeper's, are 15 s
        wait_for_notes(stage, supervisor.ready[1], 1, 30.0)
    time.sleep(0.3)
    assert stage.sounding() == 0


@pytest.mark.parametrize("what", ["keeper", "both"])
def test_a_keeper_killed_in_the_middle_of_a_note_alone_or_with_the_daemon(
    home: dict[str, str], stage: Stage, tmp_path: Path, what: str
) -> None:
    """jackd buries a client that was killed for seconds, and the duet goes on after that."""
    with FakeSupervisor(UserUnit(folder=tmp_path).definition(), tmp_path, home) as supervisor:
        wait_for_notes(stage, 0.0, 8, 30.0)
        assert supervisor.process is not None
        main = supervisor.process.pid
        while stage.sounding() == 0:
            time.sleep(0.001)
        for each in members(main):
            if what == "both" or each != main:
                os.kill(each, signal.SIGKILL)
        killed = time.monotonic()
        wait_for_sweep(stage, killed)
        wait_for_notes(stage, killed, 4, 30.0)
        assert len(supervisor.started) == (2 if what == "both" else 1)
    time.sleep(0.3)
    assert stage.sounding() == 0


def test_a_stop_of_the_whole_group_in_the_middle_of_a_note_leaves_nothing_sounding(
    home: dict[str, str], stage: Stage, tmp_path: Path
) -> None:
    with FakeSupervisor(UserUnit(folder=tmp_path).definition(), tmp_path, home) as supervisor:
        wait_for_notes(stage, 0.0, 8, 30.0)
        assert supervisor.process is not None
        group = supervisor.process.pid
        while stage.sounding() == 0:
            time.sleep(0.001)
    assert supervisor.process.returncode == 0
    assert members(group) == []
    time.sleep(0.3)
    assert stage.sounding() == 0


@contextlib.contextmanager
def daemon(home: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "plugin_bridge.cli", "daemon"]
    process = subprocess.Popen(
        command, env=home, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("ready at http://127.0.0.1:")
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=20)


def test_it_is_told_from_another_terminal(home: dict[str, str]) -> None:
    with daemon(home) as process:
        status = json.loads(run(home, "status", "--json").stdout)
        assert status["state"]["pid"] == process.pid
        assert run(home, "ctl", "set", "temperature", "0.9").stdout == "temperature = 0.9\n"
        assert run(home, "ctl", "get", "temperature").stdout == "0.9\n"
        assert run(home, "ctl", "mode", "comp").stdout == "mode = comp\n"
        assert run(home, "ctl", "panic").stdout == "everything is off\n"
        assert run(home, "ctl", "style", "base").stdout == "style = base\n"
        refused = run(home, "ctl", "style", "none")
        assert (refused.returncode, refused.stderr) == (
            2, "plugin-bridge: error: there is no style 'none'; installed: base\n",
        )  # fmt: skip
        second = run(home, "daemon")
        assert second.returncode == 2
        assert f"runs already, as process {process.pid}" in second.stderr
        assert "/#token=" in run(home, "page", "--print").stdout
    assert process.returncode == 0
    for words in (["status"], ["status", "--json"], ["ctl", "panic"], ["ctl", "set", "grid", "1"]):
        done = run(home, *words)
        assert (done.returncode, done.stderr) == (2, f"plugin-bridge: error: {NO_DAEMON}\n")
    assert "ready in" in run(home, "service", "logs").stdout


def test_a_wrong_configuration_is_one_line_at_the_start(home: dict[str, str]) -> None:
    path = Path(home[HOME_VARIABLE]) / "config.toml"
    path.write_text("\ntempo = 5\n")
    done = run(home, "daemon")
    assert done.returncode == 2
    assert done.stderr == f"plugin-bridge: error: {path}:2: tempo: must be a number from 20 to 400\n"
    assert run(home, "config", "check").stderr == done.stderr
    path.write_text("")
    assert run(home, "config", "check").stdout == f"{path}: all is well\n"


def test_the_token_and_the_address_go_with_nobody(home: dict[str, str]) -> None:
    """A client that finds files of a dead daemon sends its token to no one who may have taken the port."""
    with daemon(home) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    state = Path(home[HOME_VARIABLE]) / "state"
    assert (state / "daemon.json").exists()
    assert os.access(state / "token", os.R_OK)
    assert run(home, "status").stderr == f"plugin-bridge: error: {NO_DAEMON}\n"
