"""Which notes this script's input holds down, so that they can be released when nobody else does."""

MOST = 512


class HeldNotes:
    """The partner's notes that FL plays, with the channel that each was struck on."""

    def __init__(self):
        self._held = []  # (channel, note), struck and not released
        self._owed = []  # to be released, as soon as FL lets us

    def __len__(self):
        return len(self._held)

    def struck(self, channel, note):
        """FL has begun to play `note` on `channel`. A release still owed for it would cut it off."""
        key = (channel, note)
        self._owed = [each for each in self._owed if each != key]
        if key not in self._held and len(self._held) < MOST:
            self._held.append(key)

    def released(self, note):
        """The note-off of `note` has come; FL has dealt with it."""
        self._held = [each for each in self._held if each[1] != note]

    def owe_all(self):
        """Everything held is to be released; how many notes that is."""
        count = len(self._held)
        self._owed += [key for key in self._held if key not in self._owed]
        self._held = []
        return count

    def pay(self, note_off):
        """Release what is owed by `note_off(channel, note)`, which says whether it could; the rest stays."""
        left = []
        for channel, note in self._owed:
            if left or not note_off(channel, note):
                left.append((channel, note))
        self._owed = left
        return not left
