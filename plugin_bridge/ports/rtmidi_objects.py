"""RtMidi's objects: making, opening and freeing one, which each system wants done with care.

Threads: none of its own. Making and opening may take as long as the operating system takes. One object is
used by one thread at a time, and never after `free_port`, which would crash the process.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Any, TypeAlias

from plugin_bridge.errors import BridgeError
from plugin_bridge.ports.names import choose_port, short_name
from plugin_bridge.ports.transport import Transport, forbid_jack_autostart, rtmidi_api

logger = logging.getLogger(__name__)

JACK_SETTLE_SECONDS = 0.06
QUEUE_MESSAGES = 8192

NO_VIRTUAL_PORTS = (
    "Windows has no virtual MIDI ports of its own: install loopMIDI (or Windows MIDI Services), create the "
    "ports {input!r} and {output!r} there, and open them by name"
)


@dataclass(frozen=True, slots=True)
class Virtual:
    """A new port of this name, which other programs connect to."""

    name: str


@dataclass(frozen=True, slots=True)
class Existing:
    """A port that is there already: its name, a part of its name, or its number."""

    wanted: str | int
    local_name: str = "Plugin Bridge"


Endpoint: TypeAlias = Virtual | Existing


class ErrorLog:
    """Collects what RtMidi reports, from any thread, instead of raising inside its C++ frames."""

    def __init__(self) -> None:
        self._texts: list[str] = []

    def __call__(self, kind: int, text: str, _data: object = None) -> None:
        import rtmidi

        warning = kind in (rtmidi.ERRORTYPE_WARNING, rtmidi.ERRORTYPE_DEBUG_WARNING)
        if warning and "error sending" not in text:
            logger.warning("%s", text)
        else:
            self._texts.append(text)

    def forget(self) -> None:
        self._texts.clear()

    def raise_for(self, what: str) -> None:
        if self._texts:
            text, self._texts = self._texts[0], []
            raise BridgeError(f"{what}: {text}")


def new_port(transport: Transport, direction: str, endpoint: Endpoint, errors: ErrorLog) -> Any:
    """A closed RtMidi object. JACK shows its client by the port's name, ALSA by the program's."""
    import rtmidi

    forbid_jack_autostart()
    port_name = endpoint.name if isinstance(endpoint, Virtual) else endpoint.local_name
    client = port_name if transport == "jack" else "Plugin Bridge"
    api = rtmidi_api(transport)
    if api not in rtmidi.get_compiled_api():  # RtMidi would silently take another one
        raise BridgeError(f"python-rtmidi was built without {transport}: choose another MIDI transport")
    try:
        if direction == "input":
            port = rtmidi.MidiIn(api, name=client, queue_size_limit=QUEUE_MESSAGES)
        else:
            port = rtmidi.MidiOut(api, name=client)
    except (RuntimeError, OSError) as error:
        raise BridgeError(f"MIDI transport {transport} cannot be used: {error}") from error
    port.set_error_callback(errors)
    return port


@dataclass(frozen=True, slots=True)
class Chosen:
    """An existing port: the `occurrence`-th of this full name, to be joined under `local_name`."""

    name: str
    occurrence: int
    local_name: str


def names_of(port: Any) -> list[str]:
    """The ports that `port` could be opened with, by number; empty where one has gone meanwhile. RtMidi ends
    each name with the number on Windows, where it changes when another device goes: that is left out.
    RuntimeError, ValueError or OSError when the system fails."""
    import rtmidi

    numbered = port.get_current_api() == rtmidi.API_WINDOWS_MM
    return [
        (name or "").removesuffix(f" {number}" if numbered else "")
        for number, name in enumerate(port.get_ports())
    ]


def choose(port: Any, endpoint: Endpoint, direction: str) -> Virtual | Chosen:
    if isinstance(endpoint, Virtual):
        return endpoint
    names = names_of(port)
    index = choose_port(endpoint.wanted, names, direction)
    return Chosen(names[index], names[:index].count(names[index]), endpoint.local_name)


def open_port(port: Any, chosen: Virtual | Chosen, direction: str, errors: ErrorLog) -> None:
    what = f"MIDI {direction} {chosen.name!r} cannot be opened"
    try:
        if isinstance(chosen, Virtual):
            port.open_virtual_port(chosen.name)
        else:
            numbers = [i for i, name in enumerate(names_of(port)) if name == chosen.name]
            if len(numbers) <= chosen.occurrence:
                raise BridgeError(f"{what}: it has just gone; list the ports again")
            port.open_port(numbers[chosen.occurrence], name=chosen.local_name)
    except (RuntimeError, ValueError, OSError) as error:
        raise BridgeError(f"{what}: {error}; is another program using it?") from error
    errors.raise_for(what)


def refuse_taken_names(reading: Any, writing: Any, source: Endpoint, target: Endpoint) -> None:
    """Neither name may be taken; see `refuse_taken_name`."""
    for endpoint, others in ((source, writing), (target, reading)):
        if isinstance(endpoint, Virtual):
            refuse_taken_name(endpoint, others)


def refuse_taken_name(endpoint: Virtual, others: Any) -> None:
    """Two ports of one name leave a DAW to guess which it talks to. A port of ours is seen from the
    other side: a virtual input stands among the outputs that can be opened, which `others` lists."""
    if endpoint.name in map(short_name, names_of(others)):
        raise BridgeError(
            f"a MIDI port named {endpoint.name!r} is there already: "
            "stop the other Plugin Bridge, or choose another port name"
        )


def free_port(port: Any) -> None:
    """Close and delete at once; waiting for the garbage collector would leave a virtual port standing.

    jack2 tells a client of a changed graph in a thread that reads the client's list of ports without a
    lock. Freeing the client while the change that closing made is still being told crashes the process
    now and then: in 6 of 12 runs of up to 300 cycles without a pause, in none of 12 with 20 ms, and once with
    20 ms on a machine at a load of 6, where threads wait longer.
    """
    import rtmidi

    port.close_port()
    if port.get_current_api() == rtmidi.API_UNIX_JACK:
        time.sleep(JACK_SETTLE_SECONDS)
    port.delete()
