"""A pair of ports in a process of its own, for a session in the foreground.

MIDI systems hold up who uses them: while a JACK server stands still, a program that closes a port hangs with
it, Python's lock held. So a keeper's process has the ports (see `kept_patchbay`): the session ends when it is
told to, its notes end when it is killed, and a port that goes is taken up again when it comes back.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from plugin_bridge.errors import BridgeError
from plugin_bridge.ports.clock import now
from plugin_bridge.ports.connections import DIRECTIONS, Direction, is_own, matches, pattern_of
from plugin_bridge.ports.kept_patchbay import STARTING, KeptPatchbay
from plugin_bridge.ports.midi_ports import Endpoint, Virtual, refuse_virtual
from plugin_bridge.ports.names import choose_port
from plugin_bridge.ports.patch_view import PatchView
from plugin_bridge.ports.port_system import LOCAL_NAME
from plugin_bridge.ports.rtmidi_ports import port_names
from plugin_bridge.ports.transport import Transport, TransportReport

OPEN_SECONDS = 15.0
"""How long ports may take until they are there."""
SURE_SECONDS = 1.5
"""How long something must be wrong with them, until it is: the ports of a session that was killed go late."""
_LOOK_SECONDS = 0.005


class PortNews:
    """Tells which ports go, and come back."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._there: frozenset[tuple[Direction, str]] | None = None

    def look(self, view: PatchView) -> None:
        """Tell what has changed since the last look."""
        there = frozenset((port.direction, port.name) for port in view.ports if port.connected)
        before, self._there = self._there, there
        if before is None:
            return
        for direction, name in sorted(before - there):
            self._tell(f"MIDI {direction} {name!r} has gone; it is taken up again when it comes back")
        for direction, name in sorted(there - before):
            self._tell(f"MIDI {direction} {name!r} is there again")


@contextmanager
def kept_ports(
    report: TransportReport, source: Endpoint, target: Endpoint, news: PortNews
) -> Iterator[Callable[[], KeptPatchbay]]:
    """An input from `source` and an output to `target`, each a new or an existing port, over the transport of
    `report`. They are being opened from now on; call what this gives to wait for them: it raises BridgeError
    when one cannot be opened. `news` tells, in a thread of the ports, what goes later and comes back."""
    if report.transport == "loopback":

        def nowhere() -> KeptPatchbay:
            raise BridgeError(
                f"{report}: nobody could play into it; plugin-bridge doctor says how to mend that"
            )

        yield nowhere
        return
    refuse_virtual(report, source, target)
    ends: dict[Direction, Endpoint] = {"input": source, "output": target}
    made = tuple(each for each in DIRECTIONS if isinstance(ends[each], Virtual))
    others = dict(zip(DIRECTIONS, ((), ()) if len(made) == 2 else port_names(report.transport), strict=True))
    names = [_name(ends[each], others[each], each, report.transport) for each in DIRECTIONS]
    wanted = report.transport if report.transport in ("alsa", "jack") else None
    opened = False

    def changed() -> None:
        if opened:
            news.look(ports.view())

    ports = KeptPatchbay(names[0], names[1], wanted=wanted, made=made, changed=changed)

    def there() -> KeptPatchbay:
        nonlocal opened
        _wait_for(ports, dict(zip(DIRECTIONS, names, strict=True)), made)
        news.look(ports.view())
        opened = True
        return ports

    with _quiet(until=lambda: opened), ports:
        yield there


def _name(end: Endpoint, there: tuple[str, ...], direction: Direction, transport: Transport) -> str:
    if isinstance(end, Virtual):
        return end.name
    name = there[choose_port(end.wanted, there, direction)]
    if transport != "winmm" and is_own(name, (LOCAL_NAME,)):
        raise BridgeError(f"MIDI {direction} {name!r} is a Plugin Bridge's: choose another program's port")
    return name


def _wait_for(ports: KeptPatchbay, names: dict[Direction, str], made: tuple[Direction, ...]) -> None:
    began = now()
    while missing := [each for each in DIRECTIONS if not _is_there(ports.view(), each, names[each], made)]:
        waited, wrong = now() - began, [each for each in ports.view().problems if each != STARTING]
        if wrong and waited > SURE_SECONDS:
            raise BridgeError(wrong[0])
        if waited > OPEN_SECONDS:
            raise BridgeError(
                f"MIDI {missing[0]} {names[missing[0]]!r} is not there after {OPEN_SECONDS:.0f} s: "
                "the MIDI system does not answer"
            )
        time.sleep(_LOOK_SECONDS)


def _is_there(view: PatchView, direction: Direction, name: str, made: tuple[Direction, ...]) -> bool:
    return any(
        port.connected and port.direction == direction and port.own == (direction in made)
        and matches(pattern_of(name), port.name)
        for port in view.ports
    )  # fmt: skip


@contextmanager
def _quiet(until: Callable[[], bool]) -> Iterator[None]:
    """What goes wrong while ports are being opened is raised, and not logged as well."""
    root, handler = logging.getLogger("plugin_bridge.ports"), logging.StreamHandler()
    handler.addFilter(lambda record: until())
    handler.setLevel(logging.WARNING)
    root.addHandler(handler)
    root.propagate, before = False, root.propagate
    try:
        yield
    finally:
        root.propagate = before
        root.removeHandler(handler)
