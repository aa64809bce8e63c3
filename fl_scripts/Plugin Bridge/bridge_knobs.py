"""Moves of knobs and buttons, kept until reported, and reported more than once in case one is lost."""

MOST_WAITING = 64
A_REPORT = 4  # moves in one report
NEW_A_REPORT = 2
REPEATED = 0.3  # seconds


class Knobs:
    """Moves are (channel, number, value). Of one knob's moves that wait only the last counts, unless one
    crosses the middle: a button that is pressed and released is both."""

    def __init__(self):
        self._waiting = []
        self._reported = []  # (time, move)
        self._count = 0

    def turned(self, channel, number, value):
        """A knob was turned."""
        move = (channel, number, value)
        for index in range(len(self._waiting) - 1, -1, -1):
            before = self._waiting[index]
            if before[:2] == move[:2]:
                if (before[2] >= 64) == (value >= 64):
                    self._waiting[index] = move
                    return
                break
        if len(self._waiting) < MOST_WAITING:
            self._waiting.append(move)

    def report(self, time):
        """(number of the last move, bytes of the moves), or None when nothing was turned lately."""
        for move in self._waiting[:NEW_A_REPORT]:
            self._count = (self._count + 1) % 65536
            self._reported.append((time, move))
        del self._waiting[:NEW_A_REPORT]
        self._reported = [each for each in self._reported[-A_REPORT:] if time - each[0] < REPEATED]
        if not self._reported:
            return None
        return self._count, bytes(byte for _, move in self._reported for byte in move)
