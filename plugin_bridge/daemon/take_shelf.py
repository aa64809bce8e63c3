"""The takes there are, and playing one back.

Threads: all methods may be called from any thread. What is played leaves from a scheduler's thread of its
own, which lives as long as a take is played.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from plugin_bridge.daemon.refusals import NotThereError
from plugin_bridge.duet.scheduler import Scheduler, Send
from plugin_bridge.music.events import Event, NoteOff, NoteOn, Part
from plugin_bridge.music.midi_file import read_midi
from plugin_bridge.ports.clock import Clock, now

MOST_LISTED = 200
LEAD = 0.2
"""Seconds from asking to the first note."""


@dataclass(frozen=True, slots=True)
class TakeRow:
    """A take in the list. `saved` is in UTC, `size` in bytes of its MIDI file."""

    name: str
    saved: str
    size: int
    replayable: bool


class TakeShelf:
    """The takes in `folder`. What is played goes to `send`."""

    def __init__(self, folder: Path, send: Send, *, clock: Clock = now) -> None:
        self.folder = folder
        self._send, self._clock = send, clock
        self._lock = threading.Lock()
        self._playing: tuple[str, Scheduler, float] | None = None

    def rows(self) -> list[TakeRow]:
        """The takes, the newest first."""
        found = []
        for path in self._paths():
            try:
                status = path.stat()
            except OSError:
                continue  # it has just gone
            saved = datetime.fromtimestamp(status.st_mtime, UTC).isoformat(timespec="seconds")
            found.append(TakeRow(path.stem, saved, status.st_size, path.with_suffix(".take").is_file()))
        return sorted(found, key=lambda row: (row.saved, row.name), reverse=True)[:MOST_LISTED]

    def path(self, name: str) -> Path:
        """The MIDI file of the take `name`, which must be one of the list: no path is made of a name."""
        for path in self._paths():
            if path.stem == name:
                return path
        raise NotThereError(f"there is no take {name!r}")

    @property
    def playing(self) -> str | None:
        """The take that is played now."""
        playing = self._playing
        return None if playing is None else playing[0]

    def play(self, name: str, on_event: Callable[[Event], None] = lambda event: None) -> float:
        """Play a take from the start, in place of any other; how many seconds it lasts. BridgeError when
        the file cannot be read."""
        clip = read_midi(self.path(name)).clip()
        self._begin(name, clip.events(), clip.duration, on_event)
        return clip.duration

    def test_note(self) -> None:
        """Play middle C for half a second, in place of any take."""
        events: list[Event] = [NoteOn(0.0, 60, 80, Part.PARTNER), NoteOff(0.5, 60, Part.PARTNER)]
        self._begin("test note", events, 0.5, lambda event: None)

    def stop(self) -> None:
        """End what is played: nothing of it sounds any more when this returns."""
        with self._lock:
            self._end()

    def tidy(self) -> None:
        """Let go of a take that has been played to its end. To be called now and then."""
        with self._lock:
            if self._playing is not None and self._clock() > self._playing[2]:
                self._end()

    def _begin(
        self, name: str, events: Iterable[Event], seconds: float, on_event: Callable[[Event], None]
    ) -> None:
        with self._lock:
            self._end()
            scheduler = Scheduler(self._send, self._clock, lambda sent: on_event(sent.event))
            start = self._clock() + LEAD
            scheduler.begin(0)
            scheduler.schedule(0, [replace(event, time=event.time + start) for event in events])
            self._playing = name, scheduler, start + seconds

    def _end(self) -> None:
        if self._playing is not None:
            self._playing[1].close()
            self._playing = None

    def _paths(self) -> list[Path]:
        if not self.folder.is_dir():
            return []
        return [
            path for path in self.folder.glob("*.mid") if path.is_file() and not path.name.startswith(".")
        ]
