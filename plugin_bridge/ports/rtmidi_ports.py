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
from types import TracebackType
from typing import Any

from plugin_bridge.errors import BridgeError
from plugin_bridge.ports.arrival import ArrivalClock
from plugin_bridge.ports.clock import Clock, now
from plugin_bridge.ports.delivery import Delivery
from plugin_bridge.ports.jack_watch import JackWatch
from plugin_bridge.ports.messages import ACTIVE_SENSING, SYSEX_START
from plugin_bridge.ports.priority import ask_for_realtime
from plugin_bridge.ports.rtmidi_objects import (
    Endpoint,
    ErrorLog,
    Virtual,
    choose,
    free_port,
    names_of,
    new_port,
    open_port,
    refuse_taken_names,
)
from plugin_bridge.ports.splitter import Splitter
from plugin_bridge.ports.transport import Transport
from plugin_bridge.ports.wire import MessageCallback, PortStats, check_message

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.001
WATCH_SECONDS = 0.02
JOIN_SECONDS = 5.0


class RtmidiPorts:
    """An input and an output of one transport. See `MidiPorts` for the contract."""

    def __init__(
        self, transport: Transport, source: Endpoint, target: Endpoint, *, clock: Clock = now
    ) -> None:
        """Open both ports, or neither: BridgeError says what was not possible."""
        self.transport = transport
        self._clock = clock
        self._closing = threading.Event()
        self._send_lock = threading.Lock()
        self._close_lock = threading.Lock()
        self._sent = 0
        self._splitter = Splitter()
        self._lost: str | None = None
        self._errors = ErrorLog()
        with contextlib.ExitStack() as opened:
            self._watch = JackWatch.of_running_server() if transport == "jack" else None
            if self._watch is not None:
                opened.callback(self._watch.close)
            self._in: Any = new_port(transport, "input", source, self._errors)
            opened.callback(free_port, self._in)
            self._out: Any = new_port(transport, "output", target, self._errors)
            opened.callback(free_port, self._out)
            # Both are chosen before either is opened, so that no end of ours is among what is chosen from.
            refuse_taken_names(self._in, self._out, source, target)
            chosen_source = choose(self._in, source, "input")
            chosen_target = choose(self._out, target, "output")
            self._in.ignore_types(sysex=False, timing=False, active_sense=False)
            open_port(self._in, chosen_source, "input", self._errors)
            open_port(self._out, chosen_target, "output", self._errors)
            self.input_name, self.output_name = chosen_source.name, chosen_target.name
            self._deliver = Delivery(self.input_name)
            opened.pop_all()
        self._reader = threading.Thread(target=self._read, name="midi-input", daemon=True)
        self._reader.start()

    def listen(self, callback: MessageCallback | None) -> None:
        """Call `callback(message, time)` for each message from now on; None stops that."""
        self._deliver.callback = callback

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
        return PortStats(self._deliver.received, self._sent, self._deliver.failed, self._lost)

    def close(self) -> None:
        """Close both ports. Once this returns no callback runs and none follows. May be repeated.

        Raises RuntimeError when called from the callback, which would have to wait for itself.
        """
        if threading.current_thread() is self._reader:
            raise RuntimeError("close() may not be called from the input callback")
        with self._close_lock:
            self._closing.set()
            self._deliver.callback = None
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
                free_port(target)
            if self._in is not None and not keep_input:
                source, self._in = self._in, None
                free_port(source)

    def _raise_if_lost(self) -> None:
        if self._lost is None and self._watch is not None and self._watch.gone():
            self._lost = "the JACK server has stopped: start it again and restart"
        if self._lost is not None:
            raise BridgeError(f"MIDI port {self.output_name!r}: {self._lost}")

    def _read(self) -> None:
        ask_for_realtime()
        next_look = self._clock() + WATCH_SECONDS
        try:
            for message, arrived in self._messages():
                if message:
                    for whole in self._splitter.feed(message):
                        self._deliver(whole, arrived)
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


def port_names(transport: Transport) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the inputs and of the outputs that can be opened now. BridgeError when asking fails."""
    errors = ErrorLog()
    names: list[tuple[str, ...]] = []
    for direction in ("input", "output"):
        port = new_port(transport, direction, Virtual("Plugin Bridge list"), errors)
        try:
            names.append(tuple(filter(None, names_of(port))))
        finally:
            free_port(port)
    return names[0], names[1]
