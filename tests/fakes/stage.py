"""A keyboard that plays without end and a synthesizer that remembers, on a JACK server."""

from __future__ import annotations

import threading
import time
from itertools import pairwise
from typing import Any

from plugin_bridge.ports.held import Held
from plugin_bridge.ports.turns import ClientThreads, own_threads

LOOK_SECONDS = 0.05


class Stage:
    """Both, clients of their own, until `close`. `looks` has how often JACK had called each of them, again
    and again: (monotonic seconds, the keyboard, the synthesizer)."""

    def __init__(self) -> None:
        import rtmidi

        before = own_threads()
        self.keys: Any = rtmidi.MidiOut(rtmidi.API_UNIX_JACK, name="Stage Keys")
        self.keys.open_virtual_port("Stage Keys")
        between = own_threads()
        self.synth: Any = rtmidi.MidiIn(rtmidi.API_UNIX_JACK, name="Stage Synth", queue_size_limit=65536)
        self.synth.open_virtual_port("Stage Synth")
        self._called = ClientThreads(between - before), ClientThreads(own_threads() - between)
        self.rows: list[tuple[float, bytes]] = []
        self.looks: list[tuple[float, int, int]] = []
        self._held = Held()
        self._silences: list[float] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._play)
        self._thread.start()

    def _play(self) -> None:
        chord = index = 0
        due = look = time.monotonic()
        while not self._done.is_set():
            while (got := self.synth.get_message()) is not None:
                self._remember(time.monotonic(), bytes(got[0]))
            now = time.monotonic()
            if now >= due:
                due += 0.25
                self.keys.send_message([0x80, chord, 0])
                chord = (60, 64, 67, 72)[index % 4]
                index += 1
                self.keys.send_message([0x90, chord, 70])
            if now >= look:
                look = now + LOOK_SECONDS
                keys, synth = (each.turns() or 0 for each in self._called)
                self.looks.append((now, keys, synth))
            time.sleep(0.001)
        self.keys.send_message([0x80, chord, 0])

    def _remember(self, when: float, message: bytes) -> None:
        self.rows.append((when, message))
        self._held.follow(message)
        if not self._held:
            self._silences.append(when)

    def notes_since(self, since: float) -> list[float]:
        """When the partner began a note, monotonic seconds."""
        return [
            when for when, row in list(self.rows) if when > since and row[0] & 0xF0 == 0x90 and row[2] > 0
        ]

    def sounding(self) -> int:
        """How many notes the synthesizer was left with."""
        return len(self._held)

    def silent_after(self, since: float) -> float | None:
        """When nothing sounded any more for the first time after `since`, at which something did."""
        return next((when for when in list(self._silences) if when > since), None)

    def stood_still(self, since: float, until: float) -> float:
        """For how long at most one of the two was not called, in seconds."""
        looks = [look for look in list(self.looks) if since <= look[0] <= until]
        longest = 0.0
        for which in (1, 2):
            last = None
            for before, after in pairwise(looks):
                last = before[0] if last is None else last
                if after[which] != before[which]:
                    last = after[0]
                longest = max(longest, after[0] - last)
        return longest

    def close(self) -> None:
        """Both leave in good order. May be repeated."""
        if self._done.is_set():
            return
        self._done.set()
        self._thread.join()
        for port in (self.keys, self.synth):
            port.close_port()
            time.sleep(0.05)
            port.delete()
