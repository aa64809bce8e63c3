"""Finding the machine's MIDI system again, and noticing its end."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from plugin_bridge.ports.port_system import RtmidiSystem
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
