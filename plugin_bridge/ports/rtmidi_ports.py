"""Ports of the operating system, through python-rtmidi.

Threads: one reader thread a pair of ports fetches messages from RtMidi's queue every millisecond and calls
the callback. RtMidi's own callback is not used: it runs inside the backend's thread, where it waits for
Python's lock. Measured on JACK (dummy driver, 64 frames, asynchronous) with other Python code running: of
600 echoed messages 16 and 8 were lost with the callback, 0 and 1 with the queue. Closing a port with a
callback while messages came in made later calls fail on garbage objects in each of three runs, with the
queue in none of two. The queue is filled without Python's lock, and RtMidi times each message as it
arrives, so that fetching late costs little accuracy (see `arrival`).
`send` holds a lock; `close` first stops the reader thread and then frees what RtMidi allocated, because a
freed RtMidi object crashes the process when it is called. When the JACK server dies, the reader thread
frees both ports itself and ends; `send` raises from then on.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeAlias

from plugin_bridge.errors import BridgeError
from plugin_bridge.ports.arrival import ArrivalClock
from plugin_bridge.ports.clock import Clock, now
from plugin_bridge.ports.jack_watch import JackWatch
from plugin_bridge.ports.messages import ACTIVE_SENSING, SYSEX_START
from plugin_bridge.ports.names import choose_port, short_name
from plugin_bridge.ports.splitter import Splitter
from plugin_bridge.ports.transport import Transport, forbid_jack_autostart, rtmidi_api
from plugin_bridge.ports.wire import MessageCallback, PortStats, check_message

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.001
WATCH_SECONDS = 0.02
JOIN_SECONDS = 5.0
JACK_SETTLE_SECONDS = 0.05
QUEUE_MESSAGES = 8192

NO_VIRTUAL_PORTS = (
    "Windows has no virtual MIDI ports of its own: install loopMIDI (or Windows MIDI Services), create the "
    "ports {input!r} and {output!r} there, and open them by name"
)


@dataclass(frozen=True, slots=True)
class Virtual:
    """A new port of this name, which other programs connect to."""

    name: str


@dataclass(frozen=True, slots=True)
class Existing:
    """A port that is there already: its name, a part of its name, or its number."""

    wanted: str | int
    local_name: str = "Plugin Bridge"


Endpoint: TypeAlias = Virtual | Existing


class RtmidiPorts:
    """An input and an output of one transport. See `MidiPorts` for the contract."""

    def __init__(
        self, transport: Transport, source: Endpoint, target: Endpoint, *, clock: Clock = now
    ) -> None:
        """Open both ports, or neither: BridgeError says what was not possible."""
        self.transport = transport
        self._clock = clock
        self._callback: MessageCallback | None = None
        self._closing = threading.Event()
        self._send_lock = threading.Lock()
        self._close_lock = threading.Lock()
        self._received = self._sent = self._failed = 0
        self._splitter = Splitter()
        self._lost: str | None = None
        self._errors = _ErrorLog()
        with contextlib.ExitStack() as opened:
            self._watch = JackWatch.of_running_server() if transport == "jack" else None
            if self._watch is not None:
                opened.callback(self._watch.close)
            self._in: Any = _new(transport, "input", source, self._errors)
            opened.callback(_free, self._in)
            self._out: Any = _new(transport, "output", target, self._errors)
            opened.callback(_free, self._out)
            # Both are chosen before either is opened, so that no end of ours is among what is chosen from.
            _refuse_taken_names(self._in, self._out, source, target)
            chosen_source = _choose(self._in, source, "input")
            chosen_target = _choose(self._out, target, "output")
            self._in.ignore_types(sysex=False, timing=False, active_sense=False)
            _open(self._in, chosen_source, "input", self._errors)
            _open(self._out, chosen_target, "output", self._errors)
            self.input_name, self.output_name = chosen_source.name, chosen_target.name
            opened.pop_all()
        self._reader = threading.Thread(target=self._read, name="midi-input", daemon=True)
        self._reader.start()

    def listen(self, callback: MessageCallback | None) -> None:
        """Call `callback(message, time)` for each message from now on; None stops that."""
        self._callback = callback

    def send(self, message: bytes) -> None:
        """Send one whole message. BridgeError when closed or lost, ValueError for what is no message."""
        check_message(message)
        with self._send_lock:
            self._raise_if_lost()
            if self._out is None:
                raise BridgeError(f"MIDI port {self.output_name!r} is closed")
            try:
                self._out.send_message(message)
            except (RuntimeError, ValueError, OSError) as error:
                raise BridgeError(f"MIDI output {self.output_name!r} refused a message: {error}") from error
            self._sent += 1
            self._errors.raise_for(f"MIDI output {self.output_name!r}")

    def stats(self) -> PortStats:
        """Counts so far."""
        return PortStats(self._received, self._sent, self._failed, self._lost)

    def close(self) -> None:
        """Close both ports. Once this returns no callback runs and none follows. May be repeated.

        Raises RuntimeError when called from the callback, which would have to wait for itself.
        """
        if threading.current_thread() is self._reader:
            raise RuntimeError("close() may not be called from the input callback")
        with self._close_lock:
            self._closing.set()
            self._callback = None
            self._reader.join(JOIN_SECONDS)
            self._release(keep_input=self._reader.is_alive())
            if self._reader.is_alive():
                logger.error("the callback of %r does not return: port left open", self.input_name)
            elif self._watch is not None:
                self._watch.close()

    def __enter__(self) -> RtmidiPorts:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _release(self, *, keep_input: bool = False) -> None:
        """Free what RtMidi allocated, once."""
        with self._send_lock:
            target, self._out = self._out, None
            if target is not None:
                _free(target)
            if self._in is not None and not keep_input:
                source, self._in = self._in, None
                _free(source)

    def _raise_if_lost(self) -> None:
        if self._lost is None and self._watch is not None and self._watch.gone():
            self._lost = "the JACK server has stopped: start it again and restart"
        if self._lost is not None:
            raise BridgeError(f"MIDI port {self.output_name!r}: {self._lost}")

    def _read(self) -> None:
        next_look = self._clock() + WATCH_SECONDS
        try:
            for message, arrived in self._messages():
                if message:
                    self._deliver(message, arrived)
                elif arrived >= next_look:
                    next_look = arrived + WATCH_SECONDS
                    self._raise_if_lost()
        except BridgeError as error:
            logger.error("%s", error)
            self._release()  # at once: a libjack client without its server floods stderr
        except (RuntimeError, ValueError, OSError) as error:
            self._lost = f"input {self.input_name!r} failed ({error}): restart"
            logger.exception("reading from %r failed", self.input_name)

    def _messages(self) -> Iterator[tuple[bytes, float]]:
        """Messages with their arrival until closing; an empty one after each millisecond without any."""
        arrival = ArrivalClock()
        while not self._closing.is_set():
            fetched = self._in.get_message()
            time_now = self._clock()
            if fetched is None:
                yield b"", time_now
                time.sleep(POLL_SECONDS)
                continue
            message, delta = fetched
            arrived = arrival.stamp(delta, time_now)
            if message[0] == SYSEX_START:
                arrival.restart()  # its delta counts from its last piece only
            if message[0] != ACTIVE_SENSING:
                yield bytes(message), arrived

    def _deliver(self, message: bytes, arrived: float) -> None:
        callback = self._callback
        if callback is None or self._closing.is_set():
            return
        for whole in self._splitter.feed(message):
            self._received += 1
            try:
                callback(whole, arrived)
            except Exception:
                self._failed += 1
                logger.exception("the callback of %r failed on %s", self.input_name, whole[:16].hex(" "))


def port_names(transport: Transport) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the inputs and of the outputs that can be opened now. BridgeError when asking fails."""
    errors = _ErrorLog()
    names: list[tuple[str, ...]] = []
    for direction in ("input", "output"):
        port = _new(transport, direction, Virtual("Plugin Bridge list"), errors)
        try:
            names.append(tuple(port.get_ports()))
        finally:
            _free(port)
    return names[0], names[1]


class _ErrorLog:
    """Collects what RtMidi reports, from any thread, instead of raising inside its C++ frames."""

    def __init__(self) -> None:
        self._texts: list[str] = []

    def __call__(self, kind: int, text: str, _data: object = None) -> None:
        import rtmidi

        warning = kind in (rtmidi.ERRORTYPE_WARNING, rtmidi.ERRORTYPE_DEBUG_WARNING)
        if warning and "error sending" not in text:
            logger.warning("%s", text)
        else:
            self._texts.append(text)

    def raise_for(self, what: str) -> None:
        if self._texts:
            text, self._texts = self._texts[0], []
            raise BridgeError(f"{what}: {text}")


def _new(transport: Transport, direction: str, endpoint: Endpoint, errors: _ErrorLog) -> Any:
    """A closed RtMidi object. JACK shows its client by the port's name, ALSA by the program's."""
    import rtmidi

    forbid_jack_autostart()
    port_name = endpoint.name if isinstance(endpoint, Virtual) else endpoint.local_name
    client = port_name if transport == "jack" else "Plugin Bridge"
    api = rtmidi_api(transport)
    if api not in rtmidi.get_compiled_api():  # RtMidi would silently take another one
        raise BridgeError(f"python-rtmidi was built without {transport}: choose another MIDI transport")
    try:
        if direction == "input":
            port = rtmidi.MidiIn(api, name=client, queue_size_limit=QUEUE_MESSAGES)
        else:
            port = rtmidi.MidiOut(api, name=client)
    except (RuntimeError, OSError) as error:
        raise BridgeError(f"MIDI transport {transport} cannot be used: {error}") from error
    port.set_error_callback(errors)
    return port


@dataclass(frozen=True, slots=True)
class _Chosen:
    """An existing port: the `occurrence`-th of this full name, to be joined under `local_name`."""

    name: str
    occurrence: int
    local_name: str


def _choose(port: Any, endpoint: Endpoint, direction: str) -> Virtual | _Chosen:
    if isinstance(endpoint, Virtual):
        return endpoint
    names = port.get_ports()
    index = choose_port(endpoint.wanted, names, direction)
    return _Chosen(names[index], names[:index].count(names[index]), endpoint.local_name)


def _open(port: Any, chosen: Virtual | _Chosen, direction: str, errors: _ErrorLog) -> None:
    what = f"MIDI {direction} {chosen.name!r} cannot be opened"
    try:
        if isinstance(chosen, Virtual):
            port.open_virtual_port(chosen.name)
        else:
            numbers = [i for i, name in enumerate(port.get_ports()) if name == chosen.name]
            if len(numbers) <= chosen.occurrence:
                raise BridgeError(f"{what}: it has just gone; list the ports again")
            port.open_port(numbers[chosen.occurrence], name=chosen.local_name)
    except (RuntimeError, ValueError, OSError) as error:
        raise BridgeError(f"{what}: {error}; is another program using it?") from error
    errors.raise_for(what)


def _refuse_taken_names(reading: Any, writing: Any, source: Endpoint, target: Endpoint) -> None:
    """Two ports of one name leave a DAW to guess which it talks to. A port of ours is seen from the
    other side: a virtual input stands among the outputs that can be opened."""
    for endpoint, others in ((source, writing), (target, reading)):
        if isinstance(endpoint, Virtual) and endpoint.name in map(short_name, others.get_ports()):
            raise BridgeError(
                f"a MIDI port named {endpoint.name!r} is there already: "
                "stop the other Plugin Bridge, or choose another port name"
            )


def _free(port: Any) -> None:
    """Close and delete at once; waiting for the garbage collector would leave a virtual port standing.

    jack2 tells a client of a changed graph in a thread that reads the client's list of ports without a
    lock. Freeing the client while the change that closing made is still being told crashes the process
    now and then: in 6 of 12 runs of up to 300 cycles without a pause, in none of 12 with 20 ms.
    """
    import rtmidi

    port.close_port()
    if port.get_current_api() == rtmidi.API_UNIX_JACK:
        time.sleep(JACK_SETTLE_SECONDS)
    port.delete()
