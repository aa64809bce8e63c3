"""What both played: the latest minutes as they crossed the ports, and counts from the start.

Threads: the session's worker adds the player's events, the scheduler's thread the partner's; anyone may
ask.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace

from plugin_bridge.duet.scheduler import Sent
from plugin_bridge.music.clip import ChordSpan, Clip, clip_from_events
from plugin_bridge.music.events import Event, NoteOff, NoteOn, close_all, drop_strays

KEPT_SECONDS = 30 * 60.0
"""As much of the past is always there to be saved."""


class Recording:
    """The latest `kept` seconds of a duet. Event times are clock seconds. `on_event` gets each event as it is
    added, in the thread that adds it; it must return at once."""

    def __init__(self, kept: float = KEPT_SECONDS) -> None:
        self._kept = kept
        self._parts: tuple[deque[Event], deque[Event]] = deque(), deque()
        self._left: deque[Sent] = deque()
        self._held: set[int] = set()
        self.player_notes = self.partner_notes = 0
        self.on_event: Callable[[Event], None] = lambda event: None

    @property
    def hung_notes(self) -> int:
        """The partner's notes that have not got their off."""
        return len(self._held)

    def heard(self, event: Event) -> None:
        """The player did something."""
        self.player_notes += isinstance(event, NoteOn)
        self._add(event)

    def sent(self, sent: Sent) -> None:
        """The partner's event left."""
        match sent.event:
            case NoteOn(pitch=pitch):
                self.partner_notes += 1
                self._held.add(pitch)
            case NoteOff(pitch=pitch):
                self._held.discard(pitch)
        self._left.append(sent)
        while self._left[0].due < sent.due - self._kept:
            self._left.popleft()
        self._add(replace(sent.event, time=sent.sent))

    def left(self) -> list[Sent]:
        """What the partner sent, as far back as it is kept."""
        return list(self._left)

    def events(self, since: float) -> list[Event]:
        """Both parts from `since` on, in time order; what is simultaneous keeps its order."""
        found = [event for part in self._parts for event in tuple(part) if event.time >= since]
        return sorted(found, key=lambda event: event.time)

    def clip(self, began: float, end: float, chords: tuple[ChordSpan, ...] = ()) -> Clip:
        """What is kept, up to `end`, in seconds from `began` or, when that is no longer kept, from where it
        begins. `chords` are in seconds from `began`."""
        start = max(began, end - self._kept)
        events = [replace(event, time=max(event.time, start) - start) for event in self.events(start)]
        clip = clip_from_events(close_all(drop_strays(events), end - start), end=end - start)
        shift = start - began
        spans = [
            replace(span, start=max(span.start - shift, 0.0)) for span in chords if span.start < end - began
        ]
        first = max((i for i, span in enumerate(spans) if span.start == 0.0), default=0)
        return replace(clip, chords=tuple(spans[first:]))

    def _add(self, event: Event) -> None:
        part = self._parts[event.part]
        part.append(event)
        self.on_event(event)
        while part[0].time < event.time - self._kept:
            part.popleft()


def hung_notes(events: Iterable[Event]) -> int:
    """How many note-ons of a recorded output never got their off."""
    held: set[int] = set()
    for event in events:
        match event:
            case NoteOn():
                held.add(event.pitch)
            case NoteOff():
                held.discard(event.pitch)
    return len(held)
