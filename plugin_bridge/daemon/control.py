"""What can be asked of the daemon, as plain values: the one set of verbs behind the API and the page.

Threads: all methods may be called from any thread. Those of styles, takes and connections read or write
files; the rest takes well under a millisecond, but for `metrics`, which grows to some milliseconds.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from plugin_bridge import __version__
from plugin_bridge.daemon.bridge import Bridge
from plugin_bridge.daemon.config import control_value
from plugin_bridge.daemon.figures import histogram, process_figures
from plugin_bridge.daemon.openapi import LONGEST_TEXT
from plugin_bridge.daemon.refusals import NotThereError, TooManyError
from plugin_bridge.daemon.saved_connections import write_connections
from plugin_bridge.duet.controls import TABLE, control
from plugin_bridge.engine.bundle import installed_styles
from plugin_bridge.errors import BridgeError
from plugin_bridge.ports.clock import Clock, now
from plugin_bridge.ports.connections import LONGEST_PATTERN, Direction, check_pattern, pattern_of
from plugin_bridge.ports.patch_view import Patches

_Json = dict[str, Any]

LEARNING_SECONDS = 5.0
"""After which who waits for a knob is told that it has not moved yet."""


class Control:
    """The daemon's verbs. `connections_file` is where connections are remembered."""

    def __init__(
        self, bridge: Bridge, patchbay: Patches, connections_file: Path, *, clock: Clock = now,
        fl_folders: Callable[[], tuple[Path, ...]] | None = None,
    ) -> None:  # fmt: skip
        self.bridge, self.patchbay, self.clock = bridge, patchbay, clock
        self._connections_file = connections_file
        self._fl_folders = fl_folders or _fl_folders
        self._started = time.monotonic()
        self._connecting = threading.Lock()

    def state(self) -> _Json:
        """How the daemon and the duet are."""
        duet, view, session = self.bridge.state(), self.patchbay.view(), self.bridge.session
        values = self.bridge.control_values()
        return {
            "version": __version__, "pid": os.getpid(),
            "uptime_s": round(time.monotonic() - self._started, 1),
            "duet": duet.what, "problem": duet.problem, "style": duet.style, "restarts": duet.restarts,
            "mode": control("mode").show(values["mode"]), "mute": bool(values["mute"]),
            "transport": view.transport, "connected": [each.name for each in view.ports if each.connected],
            "problems": list(view.problems), "restart_needed": list(self.bridge.restart_needed),
            "playing_take": self.bridge.takes.playing,
            "pace": "" if session is None else session.partner.pace.rung.said,
            "host_tempo": None if session is None else session.around.host_tempo,
        }  # fmt: skip

    def metrics(self) -> _Json:
        """Measurements of the duet and of the process. NotNowError while no duet is played."""
        measured = self.bridge.playing().measurements
        return {
            "process": process_figures(self._started),
            "report": self.bridge.report(),
            "reaction": histogram(measured.reaction),
            "lateness": histogram(measured.lateness),
        }

    def values(self) -> dict[str, float]:
        """The controls' values, by name."""
        return self.bridge.control_values()

    def controls(self) -> list[_Json]:
        """The control table, with the values as they are."""
        values = self.values()
        rows = []
        for row in TABLE:
            value = values.get(row.name)
            rows.append({
                "name": row.name, "kind": row.kind.value, "default": row.default, "low": row.low,
                "high": row.high, "unit": row.unit, "controller": row.controller, "what": row.what,
                "choices": list(row.choices), "value": value,
                "shown": "" if value is None else row.show(value),
            })  # fmt: skip
        return rows

    def set_control(self, name: str, value: Any) -> _Json:
        """Set a control, or touch a trigger."""
        row = control(name)
        number = control_value(row.name, value)
        self.bridge.set_control(row.name, number)
        return {"name": row.name, "value": number, "shown": row.show(number)}

    def knobs(self) -> _Json:
        """What was learned, and the control whose knob is waited for."""
        knobs = self.bridge.knobs
        return {
            "knobs": [{"control": name, **asdict(knob)} for name, knob in sorted(knobs.knobs.items())],
            "learning": knobs.learning,
        }

    def learn(self, name: Any) -> _Json:
        """Learn the next knob that moves for a control; None: do not learn."""
        if name is not None and not isinstance(name, str):
            raise BridgeError("control must be the name of a control, or null")
        if name is not None:
            self.bridge.playing()  # while no duet is played nobody hears a knob
        self.bridge.knobs.learn(name)
        return self.knobs()

    async def learned(self, name: str) -> _Json:
        """What was learned: as soon as the knob of this control is not waited for any more, or after
        LEARNING_SECONDS."""
        loop, changed = asyncio.get_running_loop(), asyncio.Event()
        knobs, wanted = self.bridge.knobs, control(name).name
        with knobs.watched(lambda: loop.call_soon_threadsafe(changed.set)), suppress(TimeoutError):
            if knobs.learning == wanted:
                await asyncio.wait_for(changed.wait(), LEARNING_SECONDS)
        return self.knobs()

    def forget_knob(self, name: str) -> _Json:
        """No knob stands for a control any more."""
        try:
            self.bridge.knobs.forget(name)
        except BridgeError as error:
            raise NotThereError(str(error)) from error
        return self.knobs()

    def styles(self) -> _Json:
        """The styles that are installed."""
        return {
            "styles": [folder.name for folder in installed_styles()],
            "current": self.bridge.state().style,
        }

    def set_style(self, text: Any) -> _Json:
        """Play in another style or blend."""
        if not isinstance(text, str) or not 0 < len(text) <= LONGEST_TEXT:
            raise BridgeError("style must be the name of a style, or a blend such as evans=0.7,mine=0.3")
        if not text.isprintable():
            raise NotThereError("no style has such a name")
        try:
            return {"style": self.bridge.change_style(text)}
        except (BridgeError, OSError) as error:
            raise NotThereError(str(error)) from error

    def panic(self) -> None:
        """Everything off, now."""
        self.bridge.panic()

    def test_note(self) -> None:
        """Play one note to all outputs."""
        self.bridge.takes.test_note()

    def ports(self) -> _Json:
        """The ports there are, and which are connected."""
        view = self.patchbay.view()
        return {
            "transport": view.transport,
            "ports": [
                {**asdict(each), "patterns": list(each.patterns), "pattern": pattern_of(each.name)}
                for each in view.ports
            ],
            "waiting": [{"direction": direction, "pattern": pattern} for direction, pattern in view.waiting],
            "problems": list(view.problems),
        }  # fmt: skip

    def connect(self, direction: Any, pattern: Any, connect: Any) -> _Json:
        """Connect what `pattern` means from now on, or no longer, and remember it."""
        if direction not in ("input", "output") or not isinstance(connect, bool):
            raise BridgeError('direction must be "input" or "output", and connect true or false')
        if not isinstance(pattern, str) or not 0 < len(pattern) <= LONGEST_PATTERN:
            raise BridgeError("pattern must be the name of a port, or a pattern such as Keystation*")
        chosen: Direction = direction
        with self._connecting:
            before = self.patchbay.connections
            try:
                check_pattern(pattern)
            except BridgeError as error:
                raise NotThereError(str(error)) from error
            try:
                after = before.adding(chosen, pattern) if connect else before.without(chosen, pattern)
            except BridgeError as error:
                raise (TooManyError if connect else NotThereError)(str(error)) from error
            if after != before:
                write_connections(after, self._connections_file)
                self.patchbay.follow(after)
        return self.ports()

    def takes(self) -> _Json:
        """The takes there are, and which is played."""
        shelf = self.bridge.takes
        return {"takes": [asdict(row) for row in shelf.rows()], "playing": shelf.playing}

    def save_take(self) -> _Json:
        """Save the latest minutes."""
        return {"name": self.bridge.save_take().stem}

    def take_midi(self, name: str) -> bytes:
        """The MIDI file of a take."""
        return self.bridge.takes.path(name).read_bytes()

    def play_take(self, name: str) -> _Json:
        """Play a take to the outputs."""
        return {"name": name, "seconds": round(self.bridge.takes.play(name, self.bridge.feed.add), 3)}

    def stop_take(self) -> None:
        """End the take that is played."""
        self.bridge.takes.stop()

    def to_piano_roll(self, name: str) -> _Json:
        """Put a take into the piano roll menu of every FL Studio that is found."""
        from plugin_bridge.fl.clip import clip_files, read_take
        from plugin_bridge.fl.placing import place
        from plugin_bridge.fl.takes import last_takes

        take = read_take(self.bridge.takes.path(name))
        roots = self._fl_folders()
        files = clip_files(take, last_takes(self.bridge.takes.folder))
        for root in roots:
            place(root, files)
        return {"name": name, "folders": [str(root) for root in roots]}


def _fl_folders() -> tuple[Path, ...]:
    from plugin_bridge.fl.folders import find_folders, this_machine

    return find_folders(None, this_machine())
