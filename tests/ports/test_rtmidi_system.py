"""Finding the machine's MIDI system again, and noticing its end."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from pathlib import Path

import pytest
import rtmidi

from plugin_bridge.errors import BridgeError
from plugin_bridge.ports import rtmidi_system
from plugin_bridge.ports.connections import PortKey
from plugin_bridge.ports.jack_watch import client_marks
from plugin_bridge.ports.rtmidi_objects import Virtual
from plugin_bridge.ports.rtmidi_system import RtmidiSystem
from plugin_bridge.ports.transport import Probes


def no_alsa() -> str:
    return "no device"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows a server's process")
def test_a_server_that_comes_up_while_it_is_asked_for_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"pbwatch{os.getpid()}"
    monkeypatch.setenv("JACK_DEFAULT_SERVER", name)
    path = Path(f"/dev/shm/jack_{name}_{os.getuid()}_0")
    listening = socket.socket(socket.AF_UNIX)

    def comes_up() -> None:
        listening.bind(str(path))
        listening.listen()

    try:
        system = RtmidiSystem(probes=Probes("linux", lambda: None, no_alsa, comes_up))
        assert system.find() is None
        assert system.transport == "jack"
        assert system._watch is not None
        assert not system.gone()
        system.close()
        assert system.gone()
    finally:
        listening.close()
        path.unlink(missing_ok=True)


def test_without_any_system_each_is_named_and_no_child_process_is_started_again_and_again() -> None:
    asked: list[str] = []

    def no_jack() -> str:
        asked.append("jack")
        return "no server"

    time = [100.0]
    system = RtmidiSystem("jack", Probes("linux", lambda: None, no_alsa, no_jack), lambda: time[0])
    for _ in range(10):
        problem = system.find()
        assert problem is not None
        assert problem.startswith("no MIDI system here: jack: ")
    assert asked == ["jack"]
    time[0] += 31.0
    system.find()
    assert asked == ["jack", "jack"]
    assert system.gone()


@pytest.mark.parametrize(("platform", "transport"), [("darwin", "coremidi"), ("win32", "winmm")])
def test_other_systems_have_one_and_windows_no_virtual_ports(platform: str, transport: str) -> None:
    system = RtmidiSystem(probes=Probes(platform, lambda: None, no_alsa, no_alsa))
    assert system.find() is None
    assert (system.transport, system.has_virtual) == (transport, platform != "win32")
    assert not system.gone()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows JACK's clients")
def test_a_client_that_comes_back_under_its_name_is_known_to_be_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = f"pbmarks{os.getpid()}"
    monkeypatch.setenv("JACK_DEFAULT_SERVER", name)
    path = Path(f"/dev/shm/jack_sem.{os.getuid()}_{name}_My Keys")
    assert client_marks() == {}
    try:
        path.touch()
        first = client_marks()
        assert set(first) == {"My Keys"}
        assert client_marks() == first
        path.unlink()
        path.touch()
        assert set(client_marks()) == set(first)
        assert client_marks() != first
    finally:
        path.unlink(missing_ok=True)


def test_a_client_that_was_replaced_between_two_looks_is_left_out_of_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listed = ["Keys:Keys", None, "Synth:in"]  # one went while they were counted
    marks = {"Keys": 1, "Synth": 2}
    asked: list[str] = []

    class Scout:
        def get_current_api(self) -> int:
            return rtmidi.API_UNIX_JACK

        def get_ports(self) -> list[str | None]:
            asked.append("listed")
            return listed

    monkeypatch.setattr(rtmidi_system, "client_marks", lambda: dict(marks))
    monkeypatch.setattr(rtmidi_system, "new_port", lambda *_: Scout())
    time = [100.0]
    system = RtmidiSystem("jack", Probes("linux", lambda: None, no_alsa, lambda: None), lambda: time[0])
    assert system.find() is None
    assert system.look().inputs == ("Keys:Keys", "Synth:in")
    asked.clear()
    assert system.look().inputs == ("Keys:Keys", "Synth:in")
    assert asked == []  # no client came or went: JACK is not bothered
    marks["Keys"] = 3
    assert system.look().inputs == ("Synth:in",)
    assert system.look().inputs == ("Keys:Keys", "Synth:in")
    del marks["Keys"]  # its semaphore goes first, its port a moment later
    assert system.look().inputs == ("Keys:Keys", "Synth:in")
    marks["Keys"] = 4
    assert system.look().inputs == ("Synth:in",)
    assert system.look().inputs == ("Keys:Keys", "Synth:in")
    asked.clear()
    time[0] += 2.0
    system.look()
    assert asked  # a client that was there may have made another port


def test_what_lists_the_ports_at_first_becomes_the_virtual_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """JACK takes half a second for each client that comes or goes, on a machine where its cycles are late."""
    made: list[str] = []
    deleted: list[str] = []

    class Client:
        def __init__(self, name: str) -> None:
            self.name = name

        def get_current_api(self) -> int:
            return rtmidi.API_UNIX_JACK

        def get_ports(self) -> list[str]:
            return ["Keys:Keys"]

        def ignore_types(self, **_: bool) -> None:
            pass

        def open_virtual_port(self, _: str) -> None:
            pass

        def open_port(self, number: int, name: str) -> None:
            pass

        def get_message(self) -> None:
            pass

        def close_port(self) -> None:
            pass

        def delete(self) -> None:
            deleted.append(self.name)

    def new_port(_: str, direction: str, endpoint: Virtual, __: object) -> Client:
        made.append(f"{direction} {endpoint.name}")
        return Client(made[-1])

    monkeypatch.setattr(rtmidi_system, "new_port", new_port)
    monkeypatch.setattr(rtmidi_system, "client_marks", dict)
    names = ("Bridge In", "Bridge Out")
    system = RtmidiSystem("jack", Probes("linux", lambda: None, no_alsa, lambda: None), names=names)
    assert system.find() is None
    system.look()
    system.open("input", Virtual("Bridge In"))
    system.open("input", PortKey("Keys:Keys"))
    system.open("output", Virtual("Bridge Out"))
    system.open("output", PortKey("Keys:Keys"))
    assert sorted(made) == [
        "input Bridge In", "input Plugin Bridge", "output Bridge Out", "output Plugin Bridge",
    ]  # fmt: skip
    assert deleted == []


def test_a_device_that_comes_back_finds_the_client_that_it_had_and_nothing_of_its_earlier_life(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[str] = []
    deleted: list[str] = []

    class Client:
        def __init__(self, name: str) -> None:
            self.name, self.opened = name, False
            self.inbox: list[tuple[list[int], float]] = []

        def get_current_api(self) -> int:
            return rtmidi.API_UNIX_JACK

        def get_ports(self) -> list[str]:
            return ["Keys:Keys", "More:Keys"]

        def ignore_types(self, **_: bool) -> None:
            pass

        def open_port(self, number: int, name: str) -> None:
            assert not self.opened
            self.opened = True

        def get_message(self) -> tuple[list[int], float] | None:
            return self.inbox.pop() if self.inbox else None

        def close_port(self) -> None:
            self.opened = False

        def delete(self) -> None:
            assert self.name not in deleted
            deleted.append(self.name)

    clients: list[Client] = []

    def new_port(_: str, direction: str, endpoint: Virtual, __: object) -> Client:
        made.append(direction)
        clients.append(Client(f"{direction} {len(made)}"))
        return clients[-1]

    monkeypatch.setattr(rtmidi_system, "new_port", new_port)
    monkeypatch.setattr(rtmidi_system, "client_marks", dict)
    system = RtmidiSystem("jack", Probes("linux", lambda: None, no_alsa, lambda: None))
    assert system.find() is None
    ports = [system.open("input", PortKey(name)) for name in ("Keys:Keys", "More:Keys")]
    system.free(ports, again=True)
    assert deleted == ["input 2"]  # one is kept
    clients[0].inbox = [([0x90, 60, 64], 0.0)]
    again = system.open("input", PortKey("Keys:Keys"))
    assert (made, clients[0].opened, again.get_message()) == (["input", "input"], True, None)
    system.free([again])
    assert deleted == ["input 2", "input 1"]
    system.free([system.open("input", PortKey("Keys:Keys"))], again=True)
    system.close()
    assert deleted == ["input 2", "input 1", "input 3"]  # nobody has to bury it


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows a client's threads")
@pytest.mark.parametrize("opened", [True, False])
def test_when_jack_shuts_a_client_out_the_system_has_ended(
    monkeypatch: pytest.MonkeyPatch, opened: bool
) -> None:
    shut_out, let_go = threading.Event(), threading.Event()

    class Client:
        """As libjack's: a thread that ends when the server closes the line."""

        def __init__(self, direction: str) -> None:
            ends = shut_out if direction == "input" else let_go
            self.thread = threading.Thread(target=ends.wait)
            self.thread.start()

        def get_current_api(self) -> int:
            return rtmidi.API_UNIX_JACK

        def get_ports(self) -> list[str]:
            return []

        def ignore_types(self, **_: bool) -> None:
            pass

        def open_virtual_port(self, _: str) -> None:
            pass

        def close_port(self) -> None:
            pass

        def delete(self) -> None:
            self.thread.join()

    monkeypatch.setattr(rtmidi_system, "new_port", lambda _, direction, *__: Client(direction))
    monkeypatch.setattr(rtmidi_system, "client_marks", dict)
    system = RtmidiSystem("jack", Probes("linux", lambda: None, no_alsa, lambda: None))
    assert system.find() is None
    if opened:
        system.open("input", Virtual("Plugin Bridge In"))
    system.look()
    assert not system.gone()
    [port] = system._opened or [each for each in system._scouts if each.direction == "input"]
    shut_out.set()
    while not port.shut_out():  # a thread of the system's ends in its own time
        time.sleep(0.001)
    with pytest.raises(BridgeError, match="shut"):
        system.look()
    assert system.gone()
    let_go.set()
    system.close()


def test_what_the_system_takes_long_for_is_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    time = [100.0]

    class Client:
        def get_current_api(self) -> int:
            return rtmidi.API_UNIX_JACK

        def get_ports(self) -> list[str]:
            return []

    def new_port(*_: object) -> Client:
        time[0] += takes.pop()
        return Client()

    takes = [3.0, 0.1]
    monkeypatch.setattr(rtmidi_system, "new_port", new_port)
    monkeypatch.setattr(rtmidi_system, "client_marks", dict)
    caplog.set_level("INFO", "plugin_bridge")
    system = RtmidiSystem("jack", Probes("linux", lambda: None, no_alsa, lambda: None), lambda: time[0])
    assert system.find() is None
    system.look()
    assert [line for line in caplog.messages if "begin client" in line] == [
        "the MIDI system took 3.0 s to begin client 'Plugin Bridge'"
    ]
