"""Which notes this script's input holds down, so that they can be released when nobody else does."""

MOST = 512


class HeldNotes:
    """The partner's notes that FL plays, with the channel that each was struck on. Notes are the keys of
    dictionaries, which keep their order, so that no callback searches through all of them."""

    def __init__(self):
        self._held = {}  # (note, channel), struck and not released
        self._owed = {}  # to be released, as soon as FL lets us

    def __len__(self):
        return len(self._held)

    def struck(self, channel, note):
        """FL has begun to play `note` on `channel`. A release still owed for it would cut it off."""
        self._owed.pop((note, channel), None)
        if len(self._held) < MOST:
            self._held[note, channel] = True

    def released(self, note):
        """The note-off of `note` has come; FL has dealt with it."""
        for key in [each for each in self._held if each[0] == note]:
            del self._held[key]

    def owe_all(self):
        """Everything held is to be released; how many notes that is."""
        count = len(self._held)
        self._owed.update(self._held)
        self._held = {}
        return count

    def pay(self, note_off, most=MOST):
        """Release up to `most` of what is owed by `note_off(channel, note)`, which says whether it could; the
        rest stays. How many that were."""
        paid = 0
        for note, channel in list(self._owed)[:most]:
            if not note_off(channel, note):
                break
            del self._owed[note, channel]
            paid += 1
        return paid
