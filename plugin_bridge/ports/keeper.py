"""The port keeper: a small process that holds the daemon's MIDI ports; neither can take the other down.

A client of JACK's that is killed holds up its server for seconds, and a server that ends freezes its clients
inside libjack now and then, with Python's lock held. So the ports live here, where little else can fail:

- The daemon dies: the keeper reads the end of its socket, and ends every note it knows. It keeps its ports
  for the daemon that is started next (see `keeper_meeting`): what is connected to them stays connected, and
  the duet waits for nothing that JACK does. When none comes, or the daemon said that it ends, it closes them
  in good order and ends.
- The JACK server goes: the daemon, which watches its process, kills the keeper and starts another one.
  (Where it cannot, the keeper ends itself at its next look, without another call of libjack's.)
- The keeper freezes: the daemon hears nothing of it and kills it. When the daemon has gone too, a thread
  of `faulthandler`'s, which needs no lock, ends it.

Signals that a whole group of processes gets do not end it while it has a daemon: what that sends last are
note-offs. But a keeper that got a SIGTERM waits for no other daemon: where the unit does not say otherwise,
systemd ends what a dead daemon left behind before it starts another one.

Threads: the main thread reads the socket; the patchbay's send to it.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from plugin_bridge.ports.channel import Channel
from plugin_bridge.ports.clock import now
from plugin_bridge.ports.connections import DIRECTIONS, Connections, Direction
from plugin_bridge.ports.frames import (
    Frame,
    Kind,
    connections_from,
    value_frame,
    view_value,
)
from plugin_bridge.ports.keeper_meeting import Meeting
from plugin_bridge.ports.patchbay import Patchbay
from plugin_bridge.ports.port_system import PortSystem
from plugin_bridge.ports.priority import ask_for_realtime
from plugin_bridge.ports.rtmidi_system import RtmidiSystem
from plugin_bridge.ports.transport import Transport

logger = logging.getLogger("plugin_bridge.ports.keeper")  # the module runs as __main__

ALIVE_SECONDS = 1.0
"""How often a sign of life is sent."""
ALONE_SECONDS = 12.0
"""After this long without one the keeper ends itself. The daemon is sooner, while there is one."""
ORPHAN_SECONDS = 15.0
"""How long a keeper whose daemon has died waits for another, which a slow machine takes its time to start."""
ASKED_SECONDS = 0.1
"""How often it looks meanwhile whether it was asked to end."""
_CHOICES: dict[str, Transport] = {"alsa": "alsa", "jack": "jack"}


class DaemonLine:
    """The line to whichever daemon there is. What is said while there is none is dropped."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel

    def send(self, frame: bytes) -> None:
        """Send a frame."""
        self.channel.send(frame)

    def send_midi(self, message: bytes, time: float) -> None:
        """Send a message and its time in seconds."""
        self.channel.send_midi(message, time)


class _Told(logging.Handler):
    """Log lines for the daemon's log."""

    def __init__(self, line: DaemonLine) -> None:
        super().__init__()
        self._line = line

    def emit(self, record: logging.LogRecord) -> None:
        """Send one line."""
        told = [record.levelno, record.name, self.format(record)]
        self._line.send(value_frame(Kind.LOG, told))


def keep(line: DaemonLine, system: PortSystem, words: Sequence[str], meeting: Meeting) -> None:
    """Hold ports until they are not wanted any more. `words`: see `keeper_words`. Does not return when the
    MIDI system ends."""
    _, _, input_name, output_name, made, which = words
    patchbay = Patchbay(
        system, input_name, output_name, Connections(), made=_directions(made),
        which=[int(each) for each in which.split()],
        changed=lambda: line.send(_view(patchbay)), ended=_leave,
    )  # fmt: skip
    patchbay.listen(line.send_midi)
    ask_for_realtime()
    with patchbay:
        while _serve(line.channel, patchbay, words):
            patchbay.let_go()
            line.channel.close()
            channel = _another(meeting)
            if channel is None:
                return
            line.channel = channel


def _directions(text: str) -> tuple[Direction, ...]:
    return tuple(each for each in DIRECTIONS if each in text.split())


def _view(patchbay: Patchbay) -> bytes:
    return value_frame(Kind.VIEW, view_value(patchbay.view()))


def _leave() -> None:
    logger.warning("the MIDI system has ended; it is taken up again when it comes back")
    os._exit(0)


def _serve(channel: Channel, patchbay: Patchbay, words: Sequence[str]) -> bool:
    """Do what the daemon says; whether it has died. If not, it wants these ports no more."""
    alive_at = now()
    while (frames := channel.receive(max(alive_at - now(), 0.0))) is not None:
        for frame in frames:
            if frame.kind is Kind.END or (frame.kind is Kind.HELLO and frame.value != list(words)):
                return False
            _obey(frame, channel, patchbay)
        if now() >= alive_at:
            alive_at = now() + ALIVE_SECONDS
            channel.send(value_frame(Kind.ALIVE))
            faulthandler.dump_traceback_later(ALONE_SECONDS, exit=True)
    return True


def _obey(frame: Frame, channel: Channel, patchbay: Patchbay) -> None:
    if frame.kind is Kind.MIDI:
        patchbay.send(frame.midi[0])
    elif frame.kind is Kind.FOLLOW:
        patchbay.follow(connections_from(frame.value))
    elif frame.kind is Kind.HELLO:
        channel.send(_view(patchbay))


def _another(meeting: Meeting) -> Channel | None:
    """The line to the daemon that is started next; None where none comes, or is to be waited for."""
    until = now() + ORPHAN_SECONDS
    while meeting.possible and now() < until and not _asked_to_end():
        faulthandler.dump_traceback_later(ALONE_SECONDS, exit=True)
        line = meeting.wait(ASKED_SECONDS)
        if line is not None:
            return Channel(line)
    return None


def _ignore_signals() -> None:
    """Go on at those that a whole group gets. SIGTERM is kept back from all threads to come, libjack's
    included, none of whose calls it interrupts: Linux has it wait, though it is ignored."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGTSTP", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])


def _asked_to_end() -> bool:
    """Whether a SIGTERM has come so far."""
    return sys.platform != "win32" and signal.SIGTERM in signal.sigpending()


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
    """Be the keeper. `words`: the socket, what it is to be like (see `keeper_words`), and the name under
    which another daemon finds it ("": none is waited for). `system_of` makes the MIDI system of a transport
    for the names of input and output."""
    _ignore_signals()
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115 - Windows without a window has none
    handed, *like, meeting = words
    _, transport, input_name, output_name, made, _ = like
    line = DaemonLine(Channel(our_end(handed)))
    logging.basicConfig(handlers=[_Told(line)], level=logging.INFO, format="%(message)s")
    names = {"input": input_name, "output": output_name}
    to_come = [names[each] if each in _directions(made) else "" for each in DIRECTIONS]
    system = system_of(_CHOICES.get(transport), (to_come[0], to_come[1]))
    keep(line, system, like, Meeting(meeting))
    os._exit(0)  # at once: the next keeper's ports have the same names


if __name__ == "__main__":
    run(sys.argv[1:])
