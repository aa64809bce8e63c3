"""What the script does: it lets notes through to FL, tells the program what FL does, and leaves none hanging.

The input that the program plays into hears the program: notes that come there are the partner's, and are
released when the program falls silent, the transport stops or the script goes. A keyboard's input that has
this script hears no program: its notes are the player's, and go to the program as well as to FL; its knobs
can be learned for the partner's controls.
"""

import sys
import time

import bridge_fl
from bridge_endpoint import MAC_FRAMES, WINDOWS_FRAMES, Endpoint
from bridge_knobs import Knobs
from bridge_notes import MOST, HeldNotes
from bridge_protocol import PLAYING, RECORDING, SCRIPT, SONG_MODE, is_coded, write_message
from bridge_runs import Runs

VERSION = "0.1.0"  # of Plugin Bridge

REPORT_PLAYING = 0.04  # seconds between two reports of the transport
REPORT_STANDING = 0.1
SETTLING = 0.3  # seconds after a change in which each tick has a report, for the first ones are worth most
LISTEN_FIRST = 1.0  # seconds in which a program would be heard; before, no note is taken for the player's
UNHEARD = 6.0  # seconds after which the user is told that the program does not hear the script
RELEASES = 64  # notes that one callback releases at most; the rest follows in the next ones
FORWARDED = 64  # the player's notes that the program is told of and has down at a time
LONGEST_TEXT = 100  # characters
PEDAL = 64
_SPECIAL = frozenset((0, 6, 32, 38, 64, 96, 97, 98, 99, 100, 101))  # banks, parameters, the pedal

LOADING, LOADED = 0, 100  # OnProjectLoad; 101: it failed

_made = 0  # bridges in this interpreter: the ids of two must differ
_notes = HeldNotes()  # of all of them: what one could not release, the next one does


def _new_id():
    global _made
    _made += 1
    return 1 + (int(time.time() * 1000) * 31 + _made * 5279 + id(_new_id) // 16) % 16383


def start():
    """A new bridge, ready."""
    frames = MAC_FRAMES if sys.platform == "darwin" else WINDOWS_FRAMES
    return Bridge(time.perf_counter, _new_id, frames, _notes)


class Bridge:
    """One script on one input. `clock` gives seconds, `new_id` ids for the link, `frames` is its pace,
    `notes` may hold what an earlier bridge owes."""

    def __init__(self, clock, new_id, frames, notes):
        self._clock = clock
        self._endpoint = Endpoint(SCRIPT, new_id, frames)
        self._runs, self._knobs, self._notes = Runs(), Knobs(), notes
        self._began = clock()
        self._program = False  # was heard, so this is the input it plays into
        self._there = False  # is heard now
        self._heard_us = 0.0  # when it last did
        self._may_release = RELEASES  # in this callback
        self._forwarded = {}  # the player's notes, told to the program: (status channel, note)
        self._playing = False
        self._told = None  # of the transport, what is told at once when it changes
        self._told_at = self._changed_at = 0.0
        self._ping = None  # (number, when it was heard), to be echoed
        self._channel = None  # (index, name) as told
        self._playing_channel = 0
        self._other_version = None
        self._project = 0
        self._loading = False
        self._hint = None  # to be shown yet

    def hear(self, event):
        """Any message."""
        status = event.status
        if status == 0xF0:
            self.hear_sysex(event)
            return
        self._may_release = RELEASES
        if 0x80 <= status <= 0xEF:
            self._hear_short(event, status, event.data1, event.data2)

    def hear_sysex(self, event):
        """A SysEx message. FL versions differ in where they tell it, and to hear it twice does no harm."""
        self._may_release = RELEASES
        if event.sysex is not None and self._hear_link(bytes(event.sysex)):
            event.handled = True

    def idle(self):
        """About every 20 ms."""
        now = self._clock()
        self._may_release = RELEASES
        self._watch_program(now)
        self._pay()
        try:
            state = bridge_fl.read_transport()
            if state is not None:
                self._follow(state, now)
            if self._hint is not None and bridge_fl.show(self._hint):
                self._hint = None
            self._report(state, now)
        finally:
            self._send(self._endpoint.due(now))

    def project(self, status):
        """FL begins to load a project, or has done so."""
        self._loading = status == LOADING
        self._may_release = RELEASES
        if self._loading:
            self._release("project")
        else:
            self._project += status == LOADED
        self._tell_project()

    def close(self, reason):
        """Release what sounds, and say goodbye. No callback need follow, so this one releases all."""
        self._may_release = MOST
        try:
            self._release(reason)
            self._release_forwarded()
        finally:
            self._send(self._endpoint.goodbye())

    def _hear_short(self, event, status, data1, data2):
        message = bytes((status, data1 & 127, data2 & 127))
        if is_coded(message):
            self._hear_link(message)
            event.handled = True
            return
        kind, channel = status & 0xF0, status & 0x0F
        if kind == 0x90 and data2 > 0:
            self._playing_channel = bridge_fl.playing_channel(self._playing_channel)
            self._notes.struck(self._playing_channel, data1)
        elif kind in (0x80, 0x90):
            self._notes.released(data1)
        elif kind == 0xB0 and data1 not in _SPECIAL and data1 < 120:
            self._knobs.turned(channel, data1, data2)
        if self._is_players() and (kind in (0x80, 0x90, 0xC0) or (kind == 0xB0 and data1 == PEDAL)):
            self._forward(status, data1, data2)

    def _is_players(self):
        """Whether this input is a keyboard's."""
        return not self._program and self._clock() - self._began > LISTEN_FIRST

    def _forward(self, status, data1, data2):
        kind, key = status & 0xF0, (status & 0x0F, data1)
        if kind in (0x80, 0x90):
            self._forwarded.pop(key, None)
            if kind == 0x90 and data2 > 0:
                if len(self._forwarded) == FORWARDED:
                    self._forget_forwarded(next(iter(self._forwarded)))
                self._forwarded[key] = True
        bridge_fl.send_short(status, data1, data2)

    def _release_forwarded(self):
        for key in list(self._forwarded):
            self._forget_forwarded(key)

    def _forget_forwarded(self, key):
        channel, note = key
        del self._forwarded[key]
        bridge_fl.send_short(0x80 | channel, note, 64)

    def _hear_link(self, message):
        now = self._clock()
        messages = self._endpoint.hear(message, now)
        if messages is None:
            return False
        for each in messages:
            if each.from_peer and each.name == "hint":
                self._hint = each.text("text") or self._hint
            elif each.from_peer and each.name == "panic":
                self._release("panic")
            elif each.from_peer and each.name == "ping":
                self._ping = each.number("number"), now
        if self._endpoint.peer != 0 and not self._program:
            self._program = True
            self._release_forwarded()
        if self._endpoint.replaced:
            self._endpoint.replaced = False
            self._release("program")  # another one, which knows nothing of what the last one holds
        self._watch_program(now)
        if self._endpoint.fresh:
            self._endpoint.fresh = False
            self._tell_all()
        return True

    def _watch_program(self, now):
        there = self._endpoint.hears(now)
        if self._there and not there:
            self._release("program")
            self._hint = "Plugin Bridge: the program does not answer"
        elif there and not self._there:
            self._hint = "Plugin Bridge: connected"
        if self._endpoint.linked or (there and not self._there):
            self._heard_us = now
        elif there and now - self._heard_us > UNHEARD:
            self._heard_us = now
            self._hint = "Plugin Bridge: the program does not hear FL; see the Port number of the output"
        self._there = there
        other = self._endpoint.spoken_version
        if other is not None and other != self._other_version:
            self._hint = "Plugin Bridge: script and program differ in version; run plugin-bridge fl install"
        self._other_version = other

    def _follow(self, state, now):
        self._runs.observe(now, state.playing, state.position, state.tempo, state.quarter)
        if self._playing and not state.playing:
            self._release("stop")
        self._playing = state.playing

    def _release(self, reason):
        """Release the partner's notes; the player's are the player's."""
        if self._program:
            count = self._notes.owe_all()
            self._pay()
            if count:
                self._endpoint.send("released", reason=reason, notes=count)

    def _pay(self):
        """Release what is owed, as far as this callback may."""
        self._may_release -= self._notes.pay(bridge_fl.note_off, self._may_release)

    def _report(self, state, now):
        """Post what is to be told in this tick, if anything."""
        data, urgent = b"", False
        if state is not None and self._there:
            lasting = (
                self._flags(state),
                self._runs.number,
                state.tempo,
                state.quarter,
                state.bar,
                state.loop,
            )
            urgent = lasting != self._told
            if urgent:
                self._changed_at = now
            if urgent or self._endpoint.waits or now - self._told_at >= self._pause(state, now) - 0.005:
                data = self._transport(state)
                self._told, self._told_at = lasting, now
            self._tell_channel()
        moves = self._knobs.report(now)
        if moves is not None:
            data += write_message("knobs", last=moves[0], moves=moves[1])
        has_room = moves is None or not self._endpoint.as_control_changes
        if data and self._ping is not None and has_room:
            number, heard = self._ping
            data += write_message("echo", number=number, held=int((now - heard) * 1e6))
            self._ping = None
        if data:
            self._endpoint.post(data, urgent)

    def _pause(self, state, now):
        """Seconds between two reports of the transport."""
        if not state.playing or self._endpoint.as_control_changes:
            return REPORT_STANDING
        return 0.0 if now - self._changed_at < SETTLING else REPORT_PLAYING

    @staticmethod
    def _flags(state):
        return PLAYING * state.playing + RECORDING * state.recording + SONG_MODE * state.song_mode

    def _transport(self, state):
        return write_message(
            "transport",
            flags=self._flags(state),
            run=self._runs.number,
            tempo=state.tempo,
            position=state.position,
            quarter=state.quarter,
            bar=state.bar,
            loop_start=state.loop[0],
            loop_end=state.loop[1],
        )

    def _tell_all(self):
        """A session has begun: all that is told once."""
        host, api, port = bridge_fl.versions()
        self._endpoint.send("hello", script=VERSION, host=host[:LONGEST_TEXT], api=api, port=port)
        self._tell_project()
        self._channel = self._told = None

    def _tell_project(self):
        self._endpoint.send("project", number=self._project, loading=int(self._loading))

    def _tell_channel(self):
        channel = bridge_fl.selected_channel()
        if channel not in (None, self._channel) and self._endpoint.linked:
            self._channel = channel
            self._endpoint.send("channel", index=channel[0], name=channel[1][:LONGEST_TEXT])

    def _send(self, messages):
        for message in messages:
            if message[0] == 0xF0:
                bridge_fl.send_sysex(message)
            else:
                bridge_fl.send_short(*message)
