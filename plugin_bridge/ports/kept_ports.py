"""A pair of ports in a process of its own, for a session in the foreground.

MIDI systems hold up who uses them: while a JACK server stands still, a program that closes a port hangs with
it, Python's lock held. So a keeper's process has the ports (see `kept_patchbay`): the session ends when it is
told to, its notes end when it is killed, and a port that goes is taken up again when it comes back.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from plugin_bridge.errors import BridgeError
from plugin_bridge.ports.clock import now
from plugin_bridge.ports.connections import DIRECTIONS, Direction, PortKey, is_own, matches, pattern_of
from plugin_bridge.ports.kept_patchbay import STARTING, KeptPatchbay
from plugin_bridge.ports.midi_ports import Endpoint, Virtual, refuse_virtual
from plugin_bridge.ports.names import bare_name, choose_port
from plugin_bridge.ports.patch_view import PatchView
from plugin_bridge.ports.port_system import LOCAL_NAME
from plugin_bridge.ports.rtmidi_ports import port_names
from plugin_bridge.ports.transport import TransportReport

OPEN_SECONDS = 15.0
"""How long ports may take until they are there."""
SURE_SECONDS = 1.5
"""How long something must be wrong with them, until it is: the ports of a session that was killed go late."""
_LOOK_SECONDS = 0.005


class PortNews:
    """Tells which ports go, and come back. `tell` is called by a thread of its own: a terminal may keep it
    waiting."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._there: frozenset[tuple[Direction, str, int]] | None = None

    def look(self, view: PatchView) -> None:
        """Tell what has changed since the last look."""
        there = frozenset(_counted(view))
        before, self._there = self._there, there
        if before is None:
            return
        for direction, name, _ in sorted(before - there):
            self._tell(f"MIDI {direction} {name!r} has gone; it is taken up again when it comes back")
        for direction, name, _ in sorted(there - before):
            self._tell(f"MIDI {direction} {name!r} is there again")

    @contextmanager
    def looking_at(self, ports: KeptPatchbay, changed: threading.Event) -> Iterator[None]:
        """Look whenever `changed` is set."""
        over = False

        def look_on() -> None:
            while True:
                changed.wait()
                changed.clear()
                if over:
                    return  # that they close now is no news
                try:
                    self.look(ports.view())
                except OSError:  # nobody reads it any more
                    return

        self.look(ports.view())
        threading.Thread(target=look_on, name="port-news", daemon=True).start()
        try:
            yield
        finally:
            over = True
            changed.set()


def _counted(view: PatchView) -> Iterator[tuple[Direction, str, int]]:
    """The connected ports, equal names counted."""
    seen: Counter[tuple[Direction, str]] = Counter()
    for port in view.ports:
        if port.connected:
            yield port.direction, port.name, seen[port.direction, port.name]
            seen[port.direction, port.name] += 1


@contextmanager
def kept_ports(
    report: TransportReport, source: Endpoint, target: Endpoint, news: PortNews
) -> Iterator[Callable[[], KeptPatchbay]]:
    """An input from `source` and an output to `target`, each a new or an existing port, over the transport of
    `report`. They are being opened from now on; call what this gives to wait for them: it raises BridgeError
    when one cannot be opened. `news` tells what goes later and comes back."""
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
    own = (LOCAL_NAME, *(end.name for end in ends.values() if isinstance(end, Virtual)))
    own = () if report.transport == "winmm" else own  # which has ports of other programs only
    chosen = {each: _choose(ends[each], others[each], each, own) for each in DIRECTIONS}
    wanted = report.transport if report.transport in ("alsa", "jack") else None
    changed = threading.Event()
    ports = KeptPatchbay(
        chosen["input"].name,
        chosen["output"].name,
        wanted=wanted,
        made=made,
        which=tuple(chosen[each].occurrence for each in DIRECTIONS),
        changed=changed.set,
    )
    with ExitStack() as stack:

        def there() -> KeptPatchbay:
            _wait_for(ports, {each: chosen[each].name for each in DIRECTIONS}, made)
            stack.enter_context(news.looking_at(ports, changed))
            hushed.close()
            return ports

        hushed = stack.enter_context(ExitStack())
        hushed.enter_context(_hushed())
        stack.enter_context(ports)
        yield there


def _choose(end: Endpoint, there: tuple[str, ...], direction: Direction, own: tuple[str, ...]) -> PortKey:
    """The port that is meant: by its name without an address that changes, and which of that name it is."""
    if isinstance(end, Virtual):
        if not end.name.strip():
            raise BridgeError(f"the MIDI {direction} needs a name")
        return PortKey(end.name)
    index = choose_port(end.wanted, there, direction)
    name = there[index]
    if is_own(name, own):
        raise BridgeError(
            f"MIDI {direction} {name!r} begins like a port of Plugin Bridge's own ({', '.join(own)}): choose "
            "another one, or other names for these"
        )
    alike = [i for i, other in enumerate(there) if matches(pattern_of(name), other)]
    return PortKey(bare_name(name), alike.index(index))


def _wait_for(ports: KeptPatchbay, names: dict[Direction, str], made: tuple[Direction, ...]) -> None:
    began = now()
    while missing := [each for each in DIRECTIONS if not _is_there(ports.view(), each, names[each], made)]:
        waited, wrong = now() - began, [each for each in ports.view().problems if each != STARTING]
        if wrong and waited > SURE_SECONDS:
            raise BridgeError(wrong[0])
        if waited > OPEN_SECONDS:
            raise BridgeError(
                f"MIDI {missing[0]} {names[missing[0]]!r} could not be opened within {OPEN_SECONDS:.0f} s"
            )
        time.sleep(_LOOK_SECONDS)


def _is_there(view: PatchView, direction: Direction, name: str, made: tuple[Direction, ...]) -> bool:
    return any(
        port.connected and port.direction == direction and port.own == (direction in made)
        and matches(pattern_of(name), port.name)
        for port in view.ports
    )  # fmt: skip


@contextmanager
def _hushed() -> Iterator[None]:
    """What goes wrong while ports are being opened is raised, and not logged as well."""
    log = logging.getLogger("plugin_bridge.ports")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)
