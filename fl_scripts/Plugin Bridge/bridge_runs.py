"""Tells where the song's position stops following time: starts, loop wraps, jumps."""

TOLERANCE = 0.06  # seconds; FL moves in steps of an audio buffer, and OnIdle is not punctual
STALL = 0.5  # seconds; when nobody looked for so long, anything may have happened


class Runs:
    """Counts the runs of the transport, modulo 128. Within one, position goes with time."""

    def __init__(self):
        self.number = 0
        self._playing = False
        self._time = 0.0
        self._expected = 0.0
        self._position = 0
        self._tempo = 0

    def observe(self, time, playing, position, tempo, quarter):
        """The transport was read at `time` (seconds): `position` in ticks, `tempo` in thousandths of a beat a
        minute, `quarter` ticks a quarter note."""
        new = playing and not self._playing
        if playing and self._playing:
            passed = time - self._time
            ticks_a_second = max(tempo, 1) * max(quarter, 1) / 60000.0
            self._expected += passed * (tempo + self._tempo) / 2.0 * quarter / 60000.0
            off = (position - self._expected) / ticks_a_second
            new = passed > STALL or abs(off) > TOLERANCE or position < self._position
            self._expected += (position - self._expected) * 0.1  # clocks differ a little
        if new:
            self.number = (self.number + 1) % 128
            self._expected = float(position)
        self._playing, self._time, self._position, self._tempo = playing, time, position, tempo
