"""The port keeper: a small process that holds the daemon's MIDI ports; neither can take the other down.

A client of JACK's that is killed holds up its server for seconds, and a server that ends freezes its clients
inside libjack now and then, with Python's lock held. So the ports live here, where little else can fail:

- The daemon goes, however it goes: the keeper reads the end of its socket, ends every note it knows, closes
  its ports in good order and ends.
- The JACK server goes: the daemon, which watches its process, kills the keeper and starts another one.
  (Where it cannot, the keeper ends itself at its next look, without another call of libjack's.)
- The keeper freezes: the daemon hears nothing of it and kills it. When the daemon has gone too, a thread
  of `faulthandler`'s, which needs no lock, ends it.

It ends with the daemon and not at signals that a whole group of processes gets: what the daemon sends last
are note-offs.

Threads: the main thread reads the socket; the patchbay's send to it.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from plugin_bridge.ports.channel import Channel
from plugin_bridge.ports.clock import now
from plugin_bridge.ports.connections import Connections
from plugin_bridge.ports.frames import Frame, Kind, connections_from, value_frame, view_value
from plugin_bridge.ports.patchbay import Patchbay
from plugin_bridge.ports.port_system import PortSystem, RtmidiSystem
from plugin_bridge.ports.priority import ask_for_realtime
from plugin_bridge.ports.transport import Transport

logger = logging.getLogger("plugin_bridge.ports.keeper")  # the module runs as __main__

ALIVE_SECONDS = 1.0
"""How often a sign of life is sent."""
ALONE_SECONDS = 12.0
"""After this long without one the keeper ends itself. The daemon is sooner, while there is one."""
_CHOICES: dict[str, Transport] = {"alsa": "alsa", "jack": "jack"}


class _Told(logging.Handler):
    """Log lines for the daemon's log."""

    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self._channel = channel

    def emit(self, record: logging.LogRecord) -> None:
        """Send one line."""
        line = [record.levelno, record.name, self.format(record)]
        self._channel.send(value_frame(Kind.LOG, line))


def keep(channel: Channel, system: PortSystem, input_name: str, output_name: str) -> None:
    """Hold ports of these names until the daemon has gone. Does not return when the MIDI system ends."""
    patchbay = Patchbay(
        system, input_name, output_name, Connections(),
        changed=lambda: channel.send(value_frame(Kind.VIEW, view_value(patchbay.view()))),
        ended=_leave,
    )  # fmt: skip
    patchbay.listen(channel.send_midi)
    with patchbay:
        _serve(channel, patchbay)


def _leave() -> None:
    logger.warning("the MIDI system has ended; it is taken up again when it comes back")
    os._exit(0)


def _serve(channel: Channel, patchbay: Patchbay) -> None:
    ask_for_realtime()
    alive_at = now()
    while (frames := channel.receive(max(alive_at - now(), 0.0))) is not None:
        for frame in frames:
            _obey(frame, patchbay)
        if now() >= alive_at:
            alive_at = now() + ALIVE_SECONDS
            channel.send(value_frame(Kind.ALIVE))
            faulthandler.dump_traceback_later(ALONE_SECONDS, exit=True)


def _obey(frame: Frame, patchbay: Patchbay) -> None:
    if frame.kind is Kind.MIDI:
        patchbay.send(frame.midi[0])
    elif frame.kind is Kind.FOLLOW:
        patchbay.follow(connections_from(frame.value))


def our_end(handed: str) -> socket.socket:
    """The socket that the daemon handed over: the number of a handle, or on Windows, which has no such
    inheritance, what stands in the standard input."""
    if sys.platform == "win32":
        return socket.fromshare(sys.stdin.buffer.read())
    return socket.socket(fileno=int(handed))


def _machines_own(transport: Transport | None, names: tuple[str, str]) -> PortSystem:
    return RtmidiSystem(transport, names=names)


def run(
    words: list[str], system_of: Callable[[Transport | None, tuple[str, str]], PortSystem] = _machines_own
) -> None:
    """Be the keeper. `words`: the socket, the transport ("any" or one), the names of input and output.
    `system_of` makes the MIDI system of a transport for these names."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115 - Windows without a window has none
    handed, transport, input_name, output_name = words
    channel = Channel(our_end(handed))
    logging.basicConfig(handlers=[_Told(channel)], level=logging.INFO, format="%(message)s")
    keep(channel, system_of(_CHOICES.get(transport), (input_name, output_name)), input_name, output_name)
    os._exit(0)  # at once: the next keeper's ports have the same names


if __name__ == "__main__":
    run(sys.argv[1:])
