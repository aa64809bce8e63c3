"""Opening MIDI ports: new virtual ones, existing ones by name, or one of each.

Threads: opening and listing may take as long as the operating system takes, so they belong in no callback.
The callback given to `listen` must never block; `MidiPorts` states its contract in full.
Nothing is ever connected to a port that the user did not name.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from plugin_bridge.errors import BridgeError
from plugin_bridge.ports.loopback import Loopback, loopback_pair
from plugin_bridge.ports.rtmidi_objects import NO_VIRTUAL_PORTS, Endpoint, Existing, Virtual
from plugin_bridge.ports.rtmidi_ports import RtmidiPorts, port_names
from plugin_bridge.ports.transport import (
    Probes,
    Transport,
    TransportReport,
    available_transport,
    transport_report,
)
from plugin_bridge.ports.wire import MessageCallback, MidiPorts, PortStats

__all__ = [
    "INPUT_NAME",
    "OUTPUT_NAME",
    "Endpoint",
    "Existing",
    "Loopback",
    "MessageCallback",
    "MidiPorts",
    "PortList",
    "PortStats",
    "Probes",
    "Transport",
    "TransportReport",
    "Virtual",
    "available_transport",
    "endpoint",
    "list_ports",
    "loopback_pair",
    "open_named",
    "open_ports",
    "open_virtual",
    "refuse_virtual",
    "transport_report",
]

INPUT_NAME = "Plugin Bridge In"
OUTPUT_NAME = "Plugin Bridge Out"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PortList:
    """The ports that `open_named` can open, in the order of their numbers, and how they are reached."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    transport: Transport


def open_virtual(
    input_name: str = INPUT_NAME,
    output_name: str = OUTPUT_NAME,
    backend: Transport | None = None,
    probes: Probes | None = None,
) -> MidiPorts:
    """New ports that keyboards and DAWs can be connected to.

    `backend` picks a transport; without it the machine's own is taken. On a machine without any, the
    result is a `Loopback` (its `transport` says so) and a warning is logged: no other program can reach it.
    BridgeError on Windows, which has no virtual ports, and when a port of that name is there already.
    """
    return open_ports(Virtual(input_name), Virtual(output_name), backend, probes)


def open_named(
    input: str | int,  # noqa: A002
    output: str | int,
    backend: Transport | None = None,
    probes: Probes | None = None,
) -> MidiPorts:
    """Existing ports, each by exact name, by a part of its name that fits one port only, or by number.

    BridgeError when a port is not there or several fit (it lists them), or the machine has no MIDI system.
    """
    return open_ports(Existing(input), Existing(output), backend, probes)


def open_ports(
    source: Endpoint, target: Endpoint, backend: Transport | None = None, probes: Probes | None = None
) -> MidiPorts:
    """An input from `source` and an output to `target`, each a new or an existing port."""
    report = _resolve(backend, probes)
    if report.transport == "loopback":
        if not (isinstance(source, Virtual) and isinstance(target, Virtual)):
            raise BridgeError(str(report) if report.refused else "loopback has no ports to open by name")
        if backend is None:
            logger.warning("%s; ports %r and %r lead nowhere", report, source.name, target.name)
        return loopback_pair(source.name, target.name)[0]
    refuse_virtual(report, source, target)
    return RtmidiPorts(report.transport, source, target)


def endpoint(wanted: str | None, name: str) -> Endpoint:
    """The existing port that is wanted, by name or number, or a new one of this name."""
    if wanted is None:
        return Virtual(name)
    return Existing(int(wanted) if wanted.isdigit() else wanted)


def refuse_virtual(report: TransportReport, source: Endpoint, target: Endpoint) -> None:
    """BridgeError where a virtual port is asked for and the system has none."""
    if report.transport == "winmm" and any(isinstance(end, Virtual) for end in (source, target)):
        names = [end.name if isinstance(end, Virtual) else str(end.wanted) for end in (source, target)]
        raise BridgeError(NO_VIRTUAL_PORTS.format(input=names[0], output=names[1]))


def list_ports(backend: Transport | None = None, probes: Probes | None = None) -> PortList:
    """What is there. On a machine without a MIDI system both lists are empty."""
    transport = _resolve(backend, probes).transport
    if transport == "loopback":
        return PortList((), (), transport)
    inputs, outputs = port_names(transport)
    return PortList(inputs, outputs, transport)


def _resolve(backend: Transport | None, probes: Probes | None) -> TransportReport:
    """The transport asked for, checked, or the machine's own."""
    if backend is None:
        return transport_report(probes)
    ask = probes or Probes()
    question = {"alsa": ask.alsa, "jack": ask.jack}.get(backend)
    problem = None if backend == "loopback" else ask.rtmidi() or (question() if question else None)
    if problem is not None:
        raise BridgeError(f"MIDI transport {backend} cannot be used: {problem}")
    return TransportReport(backend)
