"""What both played: the latest minutes as they crossed the ports, and counts from the start.

Threads: the session's worker adds the player's events, the scheduler's thread the partner's; anyone may
ask.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from plugin_bridge.duet.scheduler import Sent
from plugin_bridge.music.clip import ChordSpan, Clip, clip_from_events
from plugin_bridge.music.events import Event, NoteOff, NoteOn, Part, Pedal, close_all, drop_strays

KEPT_SECONDS = 30 * 60.0
"""As much of the past is always there to be saved."""
_PEDAL = 128  # in a pitch's place


class Recording:
    """The latest `kept` seconds of a duet in which something was played; `latest` is when that was (None:
    never). Event times are clock seconds. `on_event` gets each event as it is added, in the thread that adds
    it; it must return at once."""

    def __init__(self, kept: float = KEPT_SECONDS) -> None:
        self._kept = kept
        self._parts = _Rows(kept), _Rows(kept)
        self._held: set[int] = set()
        self.player_notes = self.partner_notes = 0
        self.latest: float | None = None
        self.on_event: Callable[[Event], None] = lambda event: None

    @property
    def hung_notes(self) -> int:
        """The partner's notes that have not got their off."""
        return len(self._held)

    def heard(self, event: Event) -> None:
        """The player did something."""
        self.player_notes += isinstance(event, NoteOn)
        self._add(Sent(event, event.time, event.time), event)

    def sent(self, sent: Sent) -> None:
        """The partner's event left."""
        match sent.event:
            case NoteOn(pitch=pitch):
                self.partner_notes += 1
                self._held.add(pitch)
            case NoteOff(pitch=pitch):
                self._held.discard(pitch)
        self._add(sent, replace(sent.event, time=sent.sent))

    def left(self) -> list[Sent]:
        """What the partner sent, as far back as it is kept."""
        return list(self._parts[Part.PARTNER].each(Part.PARTNER))

    def events(self, since: float) -> list[Event]:
        """Both parts from `since` on, in time order; what is simultaneous keeps its order."""
        found = [
            replace(each.event, time=each.sent)
            for part, rows in zip(Part, self._parts, strict=True)
            for each in rows.each(part)
            if each.sent >= since
        ]
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

    def _add(self, row: Sent, event: Event) -> None:
        self._parts[event.part].append(row)
        if not isinstance(event, Pedal):
            self.latest = event.time
        self.on_event(event)


class _Rows:
    """The events of one part in the latest `kept` seconds, 20 bytes each: a duet may go on for days. One
    thread appends, any may read."""

    _row = struct.Struct("<ddBBxx")  # due, sent, kind and pitch, velocity
    _block = 512 * _row.size

    def __init__(self, kept: float) -> None:
        self._kept = kept
        self._blocks = deque([bytearray()])  # one long array would be moved about in memory as it grows

    def append(self, each: Sent) -> None:
        match each.event:
            case NoteOn(pitch=pitch, velocity=velocity):
                what = pitch, velocity
            case NoteOff(pitch=pitch):
                what = pitch, 0
            case Pedal(down=down):
                what = _PEDAL, int(down)
        if len(self._blocks[-1]) >= self._block:
            self._blocks.append(bytearray())
        self._blocks[-1] += self._row.pack(each.due, each.sent, *what)
        if isinstance(each.event, Pedal):
            return  # everything is let go of at the end, however long the music is over
        oldest = each.due - self._kept
        while self._row.unpack_from(self._blocks[0])[0] < oldest:
            del self._blocks[0][: self._row.size]
            if not self._blocks[0]:
                self._blocks.popleft()

    def each(self, part: Part) -> Iterator[Sent]:
        """All of them, in order, as events of `part`."""
        for due, sent, what, value in self._row.iter_unpack(b"".join(tuple(self._blocks))):
            event: Event
            if what == _PEDAL:
                event = Pedal(due, bool(value), part)
            elif value:
                event = NoteOn(due, what, value, part)
            else:
                event = NoteOff(due, what, part)
            yield Sent(event, due, sent)


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
