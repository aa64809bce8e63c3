"""Setup with a musician who answers, and what the doctor finds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from daemon.conftest import folders_in
from fakes.port_system import FakeSystem

from plugin_bridge.daemon.doctor import examine_daemon
from plugin_bridge.daemon.process import Daemon
from plugin_bridge.daemon.saved_connections import parse_connections, read_connections, show_connections
from plugin_bridge.daemon.services.service import Done
from plugin_bridge.daemon.services.systemd import UserUnit
from plugin_bridge.daemon.setup import Machine, set_up
from plugin_bridge.duet.doctor import Finding
from plugin_bridge.errors import BridgeError
from plugin_bridge.ports.connections import Connections
from plugin_bridge.ports.midi_ports import PortList

PORTS = PortList(("Keystation:MIDI 1 24:0", "Plugin Bridge Out:1"), ("Synth:in 1 28:0",), "alsa")


class Musician:
    """Answers in order, and hears what is said."""

    def __init__(self, choices: Iterable[int], yes: Iterable[bool]) -> None:
        self._choices, self._yes = iter(choices), iter(yes)
        self.told: list[str] = []
        self.offered: list[list[str]] = []

    def tell(self, text: str) -> None:
        self.told.append(text)

    def choose(self, question: str, choices: Sequence[str]) -> int:
        self.offered.append(list(choices))
        return next(self._choices)

    def yes(self, question: str) -> bool:
        return next(self._yes)


def unit(folder: Path) -> UserUnit:
    return UserUnit(lambda command: Done(1, "no bus"), folder)


def machine(tmp_path: Path, ports: PortList = PORTS, fl: Sequence[str] = ()) -> Machine:
    return Machine(
        lambda: ports, lambda: unit(tmp_path / "units"), lambda: list(fl), lambda seconds: None, "linux"
    )


def test_setup_ends_with_a_duet_and_a_note(tmp_path: Path) -> None:
    folders = folders_in(tmp_path / "home")
    folders.config.mkdir()
    folders.config_file.write_text("[api]\nport = 0\n")
    system = FakeSystem(["Keystation:MIDI 1 24:0"], ["Synth:in 1 28:0"])
    with Daemon(folders, system=system, log=False) as daemon:  # as the service would have started it
        musician = Musician([0, 0, 0], [True, True])
        assert set_up(folders, machine(tmp_path, fl=["clicks"]), musician)
        assert musician.offered[0] == ["Keystation:MIDI 1 24:0", "none of these"]  # never our own port
        assert "clicks" in musician.told
        assert read_connections(folders.connections_file) == Connections(
            ("Keystation:MIDI 1",), ("Synth:in 1",)
        )
        assert (tmp_path / "units" / "plugin-bridge.service").is_file()
        daemon.look()
        assert daemon.bridge.takes.playing == "test note"


def test_without_a_daemon_setup_says_so_and_keeps_what_was_chosen(tmp_path: Path) -> None:
    folders = folders_in(tmp_path)
    musician = Musician([1, 0, 1], [False])
    assert not set_up(folders, machine(tmp_path), musician)
    assert read_connections(folders.connections_file) == Connections((), ("Synth:in 1",))
    assert "plugin-bridge daemon" in musician.told[-1]


def test_without_devices_setup_goes_on(tmp_path: Path) -> None:
    musician = Musician([1], [False])
    set_up(folders_in(tmp_path), machine(tmp_path, PortList((), (), "alsa")), musician)
    assert "ctl connect adds one later" in musician.told[0]


def test_without_a_midi_system_setup_says_where_to_look(tmp_path: Path) -> None:
    with pytest.raises(BridgeError, match="doctor says how to mend"):
        set_up(folders_in(tmp_path), machine(tmp_path, PortList((), (), "loopback")), Musician([], []))


def test_windows_is_told_of_a_driver(tmp_path: Path) -> None:
    there = Machine(lambda: PORTS, lambda: unit(tmp_path), list, lambda seconds: None, "win32")
    musician = Musician([1, 1, 1], [False])
    set_up(folders_in(tmp_path), there, musician)
    assert "loopMIDI" in musician.told[0]


def bad(findings: Iterable[Finding]) -> dict[str, Finding]:
    return {each.what: each for each in findings if not each.ok}


def test_the_doctor_finds_nothing_wrong_where_nothing_is(tmp_path: Path) -> None:
    assert bad(examine_daemon(folders_in(tmp_path), lambda: unit(tmp_path))) == {}


def test_the_doctor_explains_what_is_wrong_with_the_files(tmp_path: Path) -> None:
    folders = folders_in(tmp_path)
    folders.config_file.write_text("tempo = 1")
    folders.connections_file.write_text("listen = 1")
    folders.state.mkdir()
    folders.token_file.write_text("x")
    found = bad(examine_daemon(folders, lambda: unit(tmp_path)))
    assert set(found) == {"configuration", "connections", "token"}
    assert found["configuration"].mend == "plugin-bridge config edit"
    assert ":1: listen: must be a list" in found["connections"].found


def test_the_doctor_asks_the_daemon_that_runs(tmp_path: Path) -> None:
    folders = folders_in(tmp_path)
    folders.config_file.write_text("[api]\nport = 0\n", encoding="utf-8")
    with Daemon(folders, system=FakeSystem(up=False), log=False) as daemon:
        deadline = 100
        while not daemon.patchbay.view().problems and (deadline := deadline - 1):
            daemon.server._thread.join(0.05)
        found = bad(examine_daemon(folders, lambda: unit(tmp_path)))
    assert found["ports"].found == "no MIDI system here"
    assert "JACK" in found["ports"].mend


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\nlisten = 3", "c.toml:2: listen: must be a list of at most 32 texts"),
        ('play = ["a", 3]', "c.toml:1: play: must be a list"),
        ('play = [" "]', "c.toml:1: play: ' ' is not the name of a port"),
        ("\n\nheard = []", "c.toml:3: heard: there is no such key; there are listen and play"),
        ("listen =", "c.toml:1: Invalid value"),
    ],
)
def test_connections_that_are_wrong_are_named(text: str, message: str) -> None:
    with pytest.raises(BridgeError) as caught:
        parse_connections(text, Path("c.toml"))
    assert str(caught.value).startswith(message)


def test_connections_are_read_as_they_were_written() -> None:
    there = Connections(('Key"s\\', "Tasten ü*"), ("Synth [[]1]",))
    assert parse_connections(show_connections(there), Path("c.toml")) == there
