"""The choice of a MIDI system, on machines of every kind."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import textwrap

import pytest

from plugin_bridge.errors import BridgeError
from plugin_bridge.ports.midi_ports import (
    Existing,
    Loopback,
    PortList,
    Virtual,
    list_ports,
    open_named,
    open_ports,
    open_virtual,
)
from plugin_bridge.ports.transport import Probes, available_transport, jack_problem, transport_report


def fine() -> None:
    return None


def never() -> str | None:
    raise AssertionError("this must not be asked")


NO_ALSA = "/dev/snd/seq: No such file or directory"
BARE = Probes("linux", fine, lambda: NO_ALSA, lambda: "no JACK server answers")


@pytest.mark.parametrize(
    ("probes", "transport"),
    [
        (Probes("linux", fine, fine, never), "alsa"),
        (Probes("linux", fine, lambda: NO_ALSA, fine), "jack"),
        (BARE, "loopback"),
        (Probes("darwin", fine, never, never), "coremidi"),
        (Probes("win32", fine, never, never), "winmm"),
        (Probes("linux", lambda: "python-rtmidi cannot be loaded", never, never), "loopback"),
    ],
)
def test_the_first_system_that_works_is_taken(probes: Probes, transport: str) -> None:
    assert available_transport(probes) == transport


def test_a_machine_without_midi_says_what_was_tried_and_what_to_do() -> None:
    report = str(transport_report(BARE))
    assert "alsa: /dev/snd/seq: No such file" in report
    assert "jack: no JACK server answers" in report
    assert "snd-seq" in report and "jackd" in report


def test_a_machine_without_midi_gets_a_loopback_and_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), open_virtual("In", "Out", probes=BARE) as ports:
        assert isinstance(ports, Loopback)
        assert (ports.transport, ports.input_name, ports.output_name) == ("loopback", "In", "Out")
    assert "no MIDI system here" in caplog.text
    assert list_ports(probes=BARE) == PortList((), (), "loopback")


def test_a_machine_without_midi_has_no_ports_to_open_by_name() -> None:
    with pytest.raises(BridgeError, match="no JACK server answers"):
        open_named("Piano", "Piano", probes=BARE)


@pytest.mark.parametrize(
    ("source", "target"), [(Virtual("Mine"), Virtual("Yours")), (Existing("x"), Virtual("Yours"))]
)
def test_windows_names_what_provides_virtual_ports(source: Virtual | Existing, target: Virtual) -> None:
    with pytest.raises(BridgeError, match=r"loopMIDI.*Windows MIDI Services.*'Yours'"):
        open_ports(source, target, probes=Probes("win32", fine, never, never))


def test_a_transport_that_was_asked_for_is_not_replaced_by_another() -> None:
    with pytest.raises(BridgeError, match=r"alsa cannot be used: .*No such file"):
        open_virtual(backend="alsa", probes=Probes("linux", fine, lambda: NO_ALSA, fine))


@pytest.mark.skipif(sys.platform != "linux", reason="JACK is probed on Linux only")
def test_asking_for_a_jack_server_that_is_not_there_is_quiet_and_starts_none() -> None:
    code = "from plugin_bridge.ports.transport import jack_problem; print(jack_problem())"
    env = {**os.environ, "JACK_DEFAULT_SERVER": "nobody-runs-this", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() in {"no JACK server answers", "python-rtmidi was built without JACK"}
    assert done.stderr == ""


@pytest.mark.skipif(sys.platform != "linux", reason="JACK is probed on Linux only")
def test_a_jack_server_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plugin_bridge.ports.transport._JACK_PROBE", "import time; time.sleep(60)")
    monkeypatch.setattr("plugin_bridge.ports.transport.JACK_PROBE_SECONDS", 0.2)
    assert "did not answer" in str(jack_problem())


def test_importing_the_ports_loads_no_midi_library() -> None:
    code = textwrap.dedent("""
        import sys
        import plugin_bridge.ports.midi_ports
        print([name for name in ("rtmidi", "mido", "numpy") if name in sys.modules])
    """)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr
