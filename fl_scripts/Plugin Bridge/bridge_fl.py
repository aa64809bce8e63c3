"""Everything this script asks of FL Studio, and the two things that it changes: notes and the hint bar.

FL refuses what changes something while a dialog is open or a project loads: TypeError in older versions,
RuntimeError in newer ones. What is asked for here and not there in an old FL has a plain answer.
"""

import arrangement
import channels
import device
import general
import mixer
import patterns
import transport
import ui

REFUSALS = (TypeError, RuntimeError)
TICKS = 2  # getSongPos: absolute ticks


class Transport:
    """What FL's transport does: tempo in thousandths of a beat a minute, position and loop in ticks (-1, -1:
    no loop), ticks in a quarter note and in a bar."""

    __slots__ = ("bar", "loop", "playing", "position", "quarter", "recording", "song_mode", "tempo")

    def __init__(self):
        self.playing = bool(transport.isPlaying())
        self.recording = bool(transport.isRecording())
        self.song_mode = transport.getLoopMode() == 1
        self.tempo = int(mixer.getCurrentTempo())
        self.position = int(transport.getSongPos(TICKS))
        self.quarter = int(general.getRecPPQ())
        self.bar = int(general.getRecPPB())
        self.loop = self._loop()

    def _loop(self):
        """The time selection in song mode; the whole pattern in pattern mode."""
        if self.song_mode:
            return int(arrangement.selectionStart()), int(arrangement.selectionEnd())
        return 0, int(patterns.getPatternLength(patterns.patternNumber()) * self.quarter)


def read_transport():
    """What FL's transport does; None while FL refuses to say."""
    try:
        return Transport()
    except REFUSALS:
        return None


def selected_channel():
    """(index, name) of the channel rack's selected channel, (-1, "") where there is none; None while FL
    refuses to say."""
    try:
        index = int(channels.selectedChannel(True, 0, True))
        return (index, str(channels.getChannelName(index, True))) if index >= 0 else (-1, "")
    except REFUSALS:
        return None


def playing_channel(otherwise):
    """The index of the channel that FL plays notes from MIDI on; `otherwise` while FL refuses to say."""
    try:
        return int(channels.selectedChannel(False, 0, True))
    except REFUSALS:
        return otherwise


def note_off(channel, note):
    """Release a note. True: done, or there is no such channel any more."""
    if not _safe():
        return False
    try:
        if channel < channels.channelCount(True):
            channels.midiNoteOn(channel, note, 0)
    except REFUSALS:
        return False
    return True


def show(text):
    """Show one line in the hint bar. True: done."""
    if not _safe():
        return False
    try:
        ui.setHintMsg(text)
    except REFUSALS:
        return False
    return True


def _safe():
    ask = getattr(general, "safeToEdit", None)  # from API version 29 on
    return bool(ask()) if ask is not None else True


def versions():
    """(FL Studio's version as text, its API's version, the Port number of this script's input)."""
    return (
        str(_asked(ui.getVersion, "")),
        int(_asked(general.getVersion, 0)),
        int(_asked(device.getPortNumber, -1)),
    )


def _asked(question, otherwise):
    try:
        return question()
    except REFUSALS:
        return otherwise


def send_sysex(message):
    """Send a SysEx message to the output that has the Port number of this script's input."""
    device.midiOutSysex(message)


def send_short(status, data1, data2):
    """Send a message of up to three bytes there."""
    device.midiOutMsg(status + (data1 << 8) + (data2 << 16))
