"""`setup`: the few questions that a musician can answer, and then a duet that works.

What is asked and told goes through `Dialogue`, so that all of it can be tested and scripted.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from plugin_bridge.daemon.client import Client, NoDaemonError
from plugin_bridge.daemon.folders import Folders
from plugin_bridge.daemon.saved_connections import read_connections, write_connections
from plugin_bridge.daemon.services.service import Service
from plugin_bridge.errors import BridgeError
from plugin_bridge.ports.connections import Connections, Direction, is_own, pattern_of
from plugin_bridge.ports.midi_ports import INPUT_NAME, OUTPUT_NAME, PortList
from plugin_bridge.ports.port_system import LOCAL_NAME
from plugin_bridge.ports.rtmidi_objects import NO_VIRTUAL_PORTS

DAEMON_SECONDS = 15.0
NONE = "none of these"
DAWS = ("FL Studio", "another one, or none")


class Dialogue(Protocol):
    """Who is asked."""

    def tell(self, text: str) -> None:
        """Say something."""

    def choose(self, question: str, choices: Sequence[str]) -> int:
        """The number of the choice that was made."""

    def yes(self, question: str) -> bool:
        """Whether it is wanted."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What setup needs of the machine: the ports there are, the service manager, FL Studio's installer (what
    it did, in words), and how to wait so many seconds."""

    ports: Callable[[], PortList]
    service: Callable[[], Service]
    install_fl: Callable[[], list[str]]
    wait: Callable[[float], None] = time.sleep
    platform: str = sys.platform


def set_up(folders: Folders, machine: Machine, dialogue: Dialogue) -> bool:
    """Ask, connect, install and try. True when a daemon runs at the end. BridgeError when something that
    cannot be gone around fails; what was done so far stays, and setup may be run again."""
    found = machine.ports()
    if found.transport == "loopback":
        raise BridgeError("no MIDI system here: plugin-bridge doctor says how to mend that")
    if machine.platform == "win32":
        dialogue.tell(NO_VIRTUAL_PORTS.format(input=INPUT_NAME, output=OUTPUT_NAME) + ".")
    own = () if machine.platform == "win32" else (LOCAL_NAME,)
    connections = read_connections(folders.connections_file)
    connections = _ask_port("input", "Which keyboard do you play?", found.inputs, own, connections, dialogue)
    connections = _ask_port(
        "output", "Which instrument does the partner play?", found.outputs, own, connections, dialogue
    )
    folders.config.mkdir(parents=True, exist_ok=True)
    write_connections(connections, folders.connections_file)
    if dialogue.choose("Which DAW do you use?", DAWS) == 0:
        try:
            for line in machine.install_fl():
                dialogue.tell(line)
        except BridgeError as error:
            dialogue.tell(f"FL Studio: {error}")
    else:
        dialogue.tell(
            f"In your DAW, play into {INPUT_NAME!r} and let an instrument listen to {OUTPUT_NAME!r}."
        )
    if dialogue.yes("Start the partner now, and at each login?"):
        for line in machine.service().install():
            dialogue.tell(line)
    client = _await_daemon(folders, machine)
    if client is None:
        dialogue.tell("No daemon runs yet: start it with plugin-bridge daemon, then play.")
        return False
    machine.wait(1.0)  # for ports that have just been opened
    client.post("/api/test-note")
    if not dialogue.yes("A note was played just now. Did you hear it?"):
        dialogue.tell("plugin-bridge page shows what is connected; plugin-bridge doctor says what is wrong.")
    dialogue.tell("Play a phrase, and let go: the partner answers. plugin-bridge page shows it.")
    return True


def _ask_port(
    direction: Direction,
    question: str,
    names: Sequence[str],
    own: Sequence[str],
    connections: Connections,
    dialogue: Dialogue,
) -> Connections:
    there = [name for name in names if not is_own(name, own)]
    if not there:
        dialogue.tell(f"No device has a MIDI {direction} now; plugin-bridge ctl connect adds one later.")
        return connections
    chosen = dialogue.choose(question, [*there, NONE])
    return connections if chosen == len(there) else connections.adding(direction, pattern_of(there[chosen]))


def _await_daemon(folders: Folders, machine: Machine) -> Client | None:
    """The daemon, given a while to start; None where none does."""
    for _ in range(round(DAEMON_SECONDS / 0.5)):
        try:
            client = Client(folders)
            client.get("/api/state")
        except NoDaemonError:
            if not _expected(machine):
                return None
        except BridgeError:
            pass  # it is just starting
        else:
            return client
        machine.wait(0.5)
    return None


def _expected(machine: Machine) -> bool:
    try:
        status = machine.service().status()
    except BridgeError:
        return False
    return status.installed and status.running is not None
