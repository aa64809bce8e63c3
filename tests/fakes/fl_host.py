"""FL Studio as its scripts know it: strict where FL is strict, with a clock of its own.

It behaves as the field reports say and not as the API's stubs do, which keep no state. The device file is run
from a string without `__file__`; files, sockets and threads are refused; what changes something is refused
while the script is imported, a dialog is open or a project loads; SysEx that is unframed, too long or too
much at once is dropped without a word; what is sent goes to the output with the input's Port number.

Time is virtual: `advance` lets the song and the idle loop run. Nothing here sleeps. `LiveFl` runs the same
host in real time on real ports.
"""

from __future__ import annotations

import ast
import builtins
import math
import sys
import threading
import time as real_time
import types
from array import array
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

from fakes.fl_costs import Costs

IDLE = 0.02
SCRIPT = Path(__file__).parents[2] / "fl_scripts" / "Plugin Bridge"
PLAIN_MODULES = ("math", "json", "base64", "__future__", "collections.abc")
CALLBACKS = (
    "OnInit", "OnDeInit", "OnMidiIn", "OnMidiMsg", "OnSysEx", "OnNoteOn", "OnNoteOff", "OnControlChange",
    "OnProgramChange", "OnPitchBend", "OnIdle", "OnRefresh", "OnUpdateBeatIndicator", "OnProjectLoad",
    "OnFirstConnect",
)  # fmt: skip
_AFTER = {
    0x80: "OnNoteOff",
    0x90: "OnNoteOn",
    0xB0: "OnControlChange",
    0xC0: "OnProgramChange",
    0xE0: "OnPitchBend",
}


class Event:
    """What FL hands to a callback."""

    def __init__(self, message: bytes, flags: int) -> None:
        sysex = message[0] == 0xF0
        self.status = message[0]
        self.data1 = 0 if sysex or len(message) < 2 else message[1]
        self.data2 = 0 if sysex or len(message) < 3 else message[2]
        self.sysex = bytes(message) if sysex else None
        self.pmeFlags = flags
        self.midiId = message[0] & 0xF0
        self.midiChan = message[0] & 0x0F
        self.timestamp = 0
        self.handled = False


@dataclass
class Channel:
    """One of the channel rack. What sounds on it: velocities by note."""

    name: str
    sounding: dict[int, int] = field(default_factory=dict)


@dataclass
class Played:
    """A note that FL played from MIDI: when (host's seconds), where (quarter notes), and the message. Live,
    `arrived` is when it came in at the port, which a busy machine may be late to look at."""

    time: float
    position: float
    message: bytes
    arrived: float
    tempo: float

    @property
    def off_grid(self) -> float:
        """Seconds behind the nearest sixteenth, or before it (negative), on arrival."""
        sixteenths = (self.position - (self.time - self.arrived) * self.tempo / 60) * 4
        return (sixteenths - round(sixteenths)) * 15 / self.tempo


class HostOptions(TypedDict, total=False):
    """How an `FlHost` may differ from the usual one."""

    platform: str
    api: int
    port: int
    output_port: int | None
    sysex_out: bool
    sysex_in: bool
    sysex_callback: str
    buffer: float


class FlHost:
    """One FL Studio with one script on one input.

    `send` gets what reaches the output. `platform` and `api` are what the script finds; `output_port` is
    the Port number of the output (None: there is none), `port` the input's. `sysex_out` False: dropped, as
    Wine does. `sysex_callback` says which callback gets SysEx: versions differ. `buffer` (seconds) is the
    step in which the song moves.

    `course` has (time, quarter notes, beats a minute; 0 while it stands) for each step of time, one after the
    other. `beside` is called once a tick and measured as the callbacks are (`costs`).
    """

    def __init__(
        self,
        send: Callable[[bytes], None] | None = None,
        *,
        folder: Path = SCRIPT,
        platform: str = "win32",
        api: int = 37,
        port: int = 10,
        output_port: int | None = 10,
        sysex_out: bool = True,
        sysex_in: bool = True,
        sysex_callback: str = "both",
        buffer: float = 512 / 44100,
        clock_start: float = 5000.0,
    ) -> None:
        self.folder, self.platform, self.api = folder, platform, api
        self.port, self.output_port = port, output_port
        self.sysex_out, self.sysex_in, self.sysex_callback = sysex_out, sysex_in, sysex_callback
        self.buffer = buffer
        self.send = send or (lambda message: None)
        self.time = clock_start
        self._idle_at = clock_start + IDLE
        # the song
        self.playing = self.recording = False
        self.song_mode = True
        self.tempo = 120.0
        self.quarter, self.bar = 96, 384
        self.ticks = 0.0
        self.selection = (-1, -1)
        self.pattern_beats = 4
        self.channels = [Channel("Kick"), Channel("Piano"), Channel("Bass")]
        self.selected = 1
        # the state that scripts run into
        self.importing = self.modal = self.loading = self.idle_stopped = False
        self.hint = ""
        # the record
        self.played: list[Played] = []
        self.arrived: list[tuple[float, bytes]] = []
        self.dropped: list[bytes] = []
        self.printed: list[str] = []
        self.escaped: list[str] = []
        self.refused = 0
        self.sent_in_tick = array("L")
        self.costs = Costs()
        self.beside: Callable[[], None] | None = None
        self.course = array("d")
        self._beat: int | None = None
        self._struck_on: dict[tuple[int, int], int] = {}
        self._sysex_in_tick = self._sent = 0
        self._namespace: dict[str, Any] = {}
        self._modules: dict[str, types.ModuleType] = {}

    # the script's life

    def start(self) -> None:
        """Run the script's file and call it as FL does at a start."""
        self._modules = self._fl_modules()
        source = self._checked(next(self.folder.glob("device_*.py")))
        assert source.splitlines()[0] == f"# name={self.folder.name}"
        self._namespace = {"__name__": "__main__", "__builtins__": self._builtins()}
        self.importing = True
        try:
            exec(compile(source, "<string>", "exec"), self._namespace)
        finally:
            self.importing = False
        self._call("OnFirstConnect")
        self._call("OnInit")
        self.load_project()
        self._call("OnRefresh", 0xFFFF)

    def load_project(self, *, seconds: float = 0.0) -> None:
        """Open a project; takes `seconds`, in which FL is not safe."""
        self.loading = True
        self._call("OnProjectLoad", 0)
        self.advance(seconds)
        for channel in self.channels:
            channel.sounding.clear()
        self.loading = False
        self._call("OnProjectLoad", 100)

    def reload(self, *, goodbye: bool = True) -> None:
        """Initialise the script again in the same interpreter, `goodbye` or not."""
        if goodbye:
            self._call("OnDeInit")
        self._call("OnInit")

    def finish(self) -> None:
        """End FL. Nothing may sound, nothing have escaped or been complained about."""
        self.modal = self.loading = False
        self._call("OnDeInit")
        self.assert_within_budget(0.01)  # generous: a single call may be the first of its kind
        assert self.escaped == []
        assert self.printed == []
        assert self.sounding() == []

    # the world around it

    def deliver(self, message: bytes, arrived: float | None = None) -> None:
        """A message comes in at the script's input now, or is looked at now that `arrived` before."""
        if message[0] == 0xF0 and not self.sysex_in:
            return
        event = Event(message, 2 | (0 if self._unsafe() else 4))
        self.costs.work.received = len(message)
        for name in self._chain(message[0]):
            self._call(name, event)
            if event.handled:
                break
        else:
            self._play(message, self.time if arrived is None else arrived)
        self.costs.work.received = 0

    def advance(self, seconds: float) -> None:
        """Let time pass: the song moves, and the idle loop comes every 20 ms."""
        end = self.time + seconds
        while self._idle_at <= end:
            self._pass(self._idle_at - self.time)
            self._idle_at += IDLE
            self.idle()
        self._pass(end - self.time)

    def miss_rounds(self, time: float) -> None:
        """Nobody came to the idle loop before `time`: the rounds until then are not made up for."""
        self._idle_at = max(self._idle_at, time)

    def idle(self) -> None:
        """One round of the idle loop."""
        self.sent_in_tick.append(self._sent)
        self._sysex_in_tick = self._sent = 0
        if self.idle_stopped:
            return
        self._indicate_beat()
        self._call("OnIdle")
        if self.beside is not None:
            self.costs.measure("beside", self.beside)

    def play(self) -> None:
        self.playing = True

    def stop(self) -> None:
        self.playing = self.recording = False

    def jump(self, quarters: float) -> None:
        """The user puts the song position elsewhere."""
        self.ticks = quarters * self.quarter

    def position(self) -> float:
        """Quarter notes, exactly, and not in steps as the script reads it."""
        return self.ticks / self.quarter

    def sounding(self) -> list[tuple[str, int]]:
        return [(channel.name, note) for channel in self.channels for note in channel.sounding]

    def turn(self, number: int, value: int, channel: int = 0) -> None:
        """The user turns a knob of the controller at this input."""
        self.deliver(bytes((0xB0 | channel, number, value)))

    def assert_within_budget(self, seconds: float) -> None:
        """Of a hundred calls of a callback 99 took no longer of the processor's time. The last one is left to
        whatever else the machine does."""
        slow = {name: sorted(took.cpu)[int(0.99 * len(took.cpu))] for name, took in self.costs.took.items()}
        assert max(slow.values(), default=0.0) <= seconds, slow

    # inside

    def _call(self, name: str, *values: Any) -> None:
        function = self._namespace.get(name)
        if function is None:
            return

        def act() -> None:
            try:
                function(*values)
            except BaseException as error:
                self.escaped.append(f"{name}: {type(error).__name__}: {error}")

        self.costs.measure(name, act)

    def _chain(self, status: int) -> Iterable[str]:
        yield "OnMidiIn"
        if status == 0xF0:
            yield from {
                "both": ("OnMidiMsg", "OnSysEx"), "OnSysEx": ("OnSysEx",), "OnMidiMsg": ("OnMidiMsg",)
            }[self.sysex_callback]  # fmt: skip
            return
        yield "OnMidiMsg"
        if status & 0xF0 in _AFTER:
            yield _AFTER[status & 0xF0]

    def _play(self, message: bytes, arrived: float) -> None:
        """What FL does with a note that no script has handled."""
        kind = message[0] & 0xF0
        if kind not in (0x80, 0x90):
            return
        self.played.append(Played(self.time, self.position(), message, arrived, self.tempo))
        key = (message[0] & 0x0F, message[1])
        if kind == 0x90 and message[2] > 0:
            self._struck_on[key] = self.selected
            self.channels[self.selected].sounding[message[1]] = message[2]
        elif key in self._struck_on:
            self.channels[self._struck_on.pop(key)].sounding.pop(message[1], None)

    def _pass(self, seconds: float) -> None:
        self.time += seconds
        if self.playing:
            self.ticks += seconds * self.tempo * self.quarter / 60
            start, end = self._loop()
            if end > start >= 0 and self.ticks >= end:
                self.ticks = start + (self.ticks - end) % (end - start)
        self.course.extend((self.time, self.position(), self.tempo * self.playing))

    def _loop(self) -> tuple[int, int]:
        return self.selection if self.song_mode else (0, self.pattern_beats * self.quarter)

    def _read_ticks(self) -> int:
        """The position as FL tells it: moved on at the last audio buffer."""
        behind = self.time % self.buffer if self.playing and self.buffer else 0.0
        seen = self.ticks - behind * self.tempo * self.quarter / 60
        start, end = self._loop()
        if end > start >= 0 and seen < start <= self.ticks:
            seen = start  # it has just wrapped
        return math.floor(max(seen, 0.0))

    def _indicate_beat(self) -> None:
        beat = math.floor(self.position()) if self.playing else None
        if beat != self._beat:
            on_bar = beat is not None and beat * self.quarter % self.bar == 0
            self._call("OnUpdateBeatIndicator", 0 if beat is None else 1 if on_bar else 2)
        self._beat = beat

    def _unsafe(self) -> bool:
        return self.importing or self.modal or self.loading

    def _change(self) -> None:
        """To be called by whatever changes something."""
        if self._unsafe():
            self.refused += 1
            raise (RuntimeError if self.api >= 29 else TypeError)("Operation unsafe at current time")

    def _out(self, message: bytes) -> None:
        if self.importing:
            self._change()
        self._sent += 1
        self.costs.work.sent += 1
        if message[0] == 0xF0:
            framed = message[-1] == 0xF7 and len(message) > 2
            most = 8 if self.platform == "darwin" else 1
            self._sysex_in_tick += 1
            if not framed or len(message) > 1024 or self._sysex_in_tick > most or not self.sysex_out:
                self.dropped.append(message)
                return
        if self.output_port != self.port:
            self.dropped.append(message)
            return
        self.arrived.append((self.time, message))
        self.send(message)

    def _checked(self, path: Path) -> str:
        source = path.read_text(encoding="ascii")
        ast.parse(source, feature_version=(3, 9))
        return source

    def _builtins(self) -> dict[str, Any]:
        allowed = dict(vars(builtins))
        allowed["__import__"] = self._import
        allowed["open"] = _refuse
        allowed["print"] = lambda *values: self.printed.append(" ".join(map(str, values)))
        return allowed

    def _import(self, name: str, *details: Any) -> types.ModuleType:
        if name not in self._modules:
            path = self.folder / f"{name}.py"
            if not path.is_file():
                if name not in PLAIN_MODULES:
                    raise ImportError(f"no module {name} in FL Studio")
                return __import__(name, *details)
            module = types.ModuleType(name)
            module.__dict__["__builtins__"] = self._builtins()
            self._modules[name] = module
            exec(compile(self._checked(path), str(path), "exec"), module.__dict__)
        return self._modules[name]

    def _fl_modules(self) -> dict[str, types.ModuleType]:
        """The modules that FL offers, and those of Python that it has changed."""

        def tell(**functions: Any) -> types.ModuleType:
            module = types.ModuleType("fl")
            module.__dict__.update(functions)
            return module

        def note_on(index: int, note: int, velocity: int, channel: int = -1) -> None:
            self._change()
            self.costs.work.released += not velocity
            sounding = self.channels[index].sounding
            if velocity:
                sounding[note] = velocity
            else:
                sounding.pop(note, None)

        def selected_channel(canBeNone: bool = False, offset: int = 0, indexGlobal: bool = False) -> int:  # noqa: N803
            return self.selected if self.selected >= 0 or canBeNone else 0

        def set_hint(text: str) -> None:
            self._change()
            self.hint = text

        def song_pos(mode: int = -1) -> int:
            assert mode == 2, "the fake tells absolute ticks only"
            return self._read_ticks()

        def toggle_play() -> None:
            self._change()
            self.playing = not self.playing

        general = tell(
            getRecPPQ=lambda: self.quarter,
            getRecPPB=lambda: self.bar,
            getVersion=lambda: self.api,
            **({"safeToEdit": lambda: not self._unsafe()} if self.api >= 29 else {}),
        )
        return {
            "transport": tell(
                isPlaying=lambda: int(self.playing), isRecording=lambda: int(self.recording),
                getLoopMode=lambda: int(self.song_mode), getSongPos=song_pos, start=toggle_play,
            ),
            "mixer": tell(getCurrentTempo=lambda: round(self.tempo * 1000)),
            "general": general,
            "arrangement": tell(
                selectionStart=lambda: self.selection[0], selectionEnd=lambda: self.selection[1]
            ),
            "patterns": tell(patternNumber=lambda: 1, getPatternLength=lambda index: self.pattern_beats),
            "channels": tell(
                midiNoteOn=note_on, selectedChannel=selected_channel,
                channelCount=lambda everywhere=False: len(self.channels),
                getChannelName=lambda index, everywhere=False: self.channels[index].name,
            ),
            "device": tell(
                midiOutSysex=lambda message: self._out(bytes(message)) if message[:1] == b"\xf0" else None,
                midiOutMsg=lambda m: self._out(bytes((m & 255, m >> 8 & 255, m >> 16 & 255))),
                getPortNumber=lambda: self.port, isMidiOutAssigned=_crash,
            ),
            "ui": tell(setHintMsg=set_hint, getVersion=lambda: "24.2.2"),
            "time": tell(
                perf_counter=lambda: self.time, monotonic=lambda: self.time, time=lambda: self.time,
                sleep=_refuse,
            ),
            "sys": tell(platform=self.platform),
            "os": tell(open=_refuse, system=_refuse),
            "socket": tell(socket=_refuse),
            "subprocess": tell(run=_refuse, Popen=_refuse),
            "threading": tell(Thread=_refuse),
        }  # fmt: skip


def _refuse(*values: Any, **named: Any) -> Any:
    raise SystemError("refused by FL Studio's sandbox")


def _crash(*values: Any) -> Any:
    raise AssertionError("isMidiOutAssigned has crashed FL Studio")


class LiveFl:
    """A host in real time: its idle loop in a thread, what comes in handed to it at once. `ports` are the
    other end of the program's; `host` is touched under `lock`."""

    def __init__(self, ports: Any, **options: Any) -> None:
        self.lock = threading.RLock()
        self.ports = ports
        self.host = FlHost(self._send, clock_start=real_time.perf_counter(), **options)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> LiveFl:
        self.host.costs.listen()
        with self.lock:
            self.host.start()
        self.ports.listen(self._hear)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self.ports.listen(None)
        self.host.costs.close()

    def now(self, act: Callable[[FlHost], Any] | None = None) -> float:
        """Bring the host to this moment and `act` on it; the moment, in seconds of `perf_counter`."""
        with self.lock:
            present = real_time.perf_counter()
            self.host.miss_rounds(present)
            self.host.advance(max(present - self.host.time, 0.0))
            if act is not None:
                act(self.host)
            return self.host.time

    def _hear(self, message: bytes, arrived: float) -> None:
        self.now(lambda host: host.deliver(message, arrived))

    def _send(self, message: bytes) -> None:
        with suppress(Exception):  # a program that has gone away is no error of FL's
            self.ports.send(message)

    def _run(self) -> None:
        while not self._done.wait(0.002):
            self.now()


if __name__ == "__main__":  # pragma: no cover
    sys.exit("this is a fake for the tests")
