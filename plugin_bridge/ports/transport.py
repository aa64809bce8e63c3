"""Which MIDI system this machine offers, found out without noise, without hanging, without side effects.

Linux: the ALSA sequencer where its device can be opened, else JACK where a server answers, else none.
macOS: CoreMIDI. Windows: WinMM. Where there is none the transport is "loopback": ports that lead nowhere
but to another object of this process.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

Transport: TypeAlias = Literal["alsa", "jack", "coremidi", "winmm", "loopback"]

ALSA_SEQUENCER = Path("/dev/snd/seq")
JACK_PROBE_SECONDS = 5.0

_JACK_PROBE = """
import rtmidi
if rtmidi.API_UNIX_JACK not in rtmidi.get_compiled_api():
    raise SystemExit("python-rtmidi was built without JACK")
rtmidi.MidiIn(rtmidi.API_UNIX_JACK, name="Plugin Bridge probe").delete()
"""


def rtmidi_api(transport: Transport) -> int:
    """python-rtmidi's number for `transport`."""
    import rtmidi

    numbers: dict[Transport, int] = {
        "alsa": rtmidi.API_LINUX_ALSA,
        "jack": rtmidi.API_UNIX_JACK,
        "coremidi": rtmidi.API_MACOSX_CORE,
        "winmm": rtmidi.API_WINDOWS_MM,
    }
    return numbers[transport]


def forbid_jack_autostart() -> None:
    """Keep libjack in this process and its children from starting a server that nobody asked for."""
    os.environ.setdefault("JACK_NO_START_SERVER", "1")


def rtmidi_problem() -> str | None:
    """Why python-rtmidi cannot be used, or None."""
    try:
        import rtmidi
    except ImportError as error:
        return f"python-rtmidi cannot be loaded ({error})"
    real = [api for api in rtmidi.get_compiled_api() if api != rtmidi.API_RTMIDI_DUMMY]
    return None if real else "python-rtmidi was built without any MIDI system"


def alsa_problem() -> str | None:
    """Why the ALSA sequencer cannot be used, or None. Opening its device loads the kernel module."""
    try:
        os.close(os.open(ALSA_SEQUENCER, os.O_RDWR | getattr(os, "O_NONBLOCK", 0)))
    except OSError as error:
        return f"{ALSA_SEQUENCER}: {error.strerror}"
    import rtmidi

    if rtmidi.API_LINUX_ALSA not in rtmidi.get_compiled_api():
        return "python-rtmidi was built without ALSA"
    return None


def jack_problem(patience: float = JACK_PROBE_SECONDS) -> str | None:
    """Why JACK cannot be used, or None. A server that does not answer is given `patience` seconds.

    Asked in a child process: libjack writes to stderr when no server is there, and waits without end for
    one that was stopped.
    """
    forbid_jack_autostart()
    command = [sys.executable, "-P", "-c", _JACK_PROBE]
    try:
        done = subprocess.run(command, capture_output=True, timeout=patience, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        return f"the JACK server did not answer within {patience:.0f} s"
    except OSError as error:
        return f"JACK could not be probed ({error})"
    if done.returncode == 0:
        return None
    if b"built without JACK" in done.stderr:
        return "python-rtmidi was built without JACK"
    return "no JACK server answers"


@dataclass(frozen=True, slots=True)
class Probes:
    """What is asked about the machine; each question answers None for "fine" or a reason."""

    platform: str = sys.platform
    rtmidi: Callable[[], str | None] = rtmidi_problem
    alsa: Callable[[], str | None] = alsa_problem
    jack: Callable[[], str | None] = jack_problem


@dataclass(frozen=True, slots=True)
class TransportReport:
    """The transport chosen, and one line on each one that was tried and refused."""

    transport: Transport
    refused: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.transport != "loopback":
            return self.transport
        return "no MIDI system here: " + "; ".join(self.refused)


def transport_report(probes: Probes | None = None) -> TransportReport:
    """The transport to use, with the reasons against the others."""
    ask = probes or Probes()
    problem = ask.rtmidi()
    if problem is not None:
        return TransportReport("loopback", (f"{problem}: reinstall python-rtmidi",))
    if ask.platform == "darwin":
        return TransportReport("coremidi")
    if ask.platform == "win32":
        return TransportReport("winmm")
    refused: list[str] = []
    questions: tuple[tuple[Transport, Callable[[], str | None]], ...] = (
        ("alsa", ask.alsa),
        ("jack", ask.jack),
    )
    for transport, question in questions:
        problem = question()
        if problem is None:
            return TransportReport(transport, tuple(refused))
        refused.append(f"{transport}: {problem}")
    refused.append("load the module snd-seq, or start a server: jackd -r -d dummy -r 48000 -p 64")
    return TransportReport("loopback", tuple(refused))


def available_transport(probes: Probes | None = None) -> Transport:
    """The transport to use on this machine. Never raises, writes nothing, takes 5 s at the very most."""
    return transport_report(probes).transport
