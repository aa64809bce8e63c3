"""A keyboard that plays without end and a synthesizer that remembers, on a JACK server."""

from __future__ import annotations

import threading
import time
from typing import Any

from plugin_bridge.ports.held import Held


class Stage:
    """Both, clients of their own, until `close`."""

    def __init__(self) -> None:
        import rtmidi

        self.keys: Any = rtmidi.MidiOut(rtmidi.API_UNIX_JACK, name="Stage Keys")
        self.keys.open_virtual_port("Stage Keys")
        self.synth: Any = rtmidi.MidiIn(rtmidi.API_UNIX_JACK, name="Stage Synth", queue_size_limit=65536)
        self.synth.open_virtual_port("Stage Synth")
        self.rows: list[tuple[float, bytes]] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._play)
        self._thread.start()

    def _play(self) -> None:
        chord = index = 0
        due = time.monotonic()
        while not self._done.is_set():
            while (got := self.synth.get_message()) is not None:
                self.rows.append((time.monotonic(), bytes(got[0])))
            if time.monotonic() >= due:
                due += 0.25
                self.keys.send_message([0x80, chord, 0])
                chord = (60, 64, 67, 72)[index % 4]
                index += 1
                self.keys.send_message([0x90, chord, 70])
            time.sleep(0.001)
        self.keys.send_message([0x80, chord, 0])

    def notes_since(self, since: float) -> list[float]:
        """When the partner began a note, monotonic seconds."""
        return [
            when for when, row in list(self.rows) if when > since and row[0] & 0xF0 == 0x90 and row[2] > 0
        ]

    def sounding(self) -> int:
        """How many notes the synthesizer was left with."""
        held = Held()
        for _, row in list(self.rows):
            held.follow(row)
        return len(held)

    def close(self) -> None:
        """Both leave in good order."""
        self._done.set()
        self._thread.join()
        for port in (self.keys, self.synth):
            port.close_port()
            time.sleep(0.05)
            port.delete()
