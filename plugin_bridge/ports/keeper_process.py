"""A port keeper's process as the daemon has it: started, or taken over from a daemon that has died; listened
to, and ended when it hangs or its JACK server has gone.

Threads: all belongs to one, but for what `Channel` allows to others.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence

from plugin_bridge.ports.channel import Channel
from plugin_bridge.ports.clock import Clock
from plugin_bridge.ports.frames import Frame, Kind, value_frame
from plugin_bridge.ports.jack_watch import JackWatch
from plugin_bridge.ports.keeper_meeting import LeftProcess, left_keeper
from plugin_bridge.ports.patch_view import PatchView

HANGING_SECONDS = 8.0
"""A keeper that gives no sign of life for so long is killed. A JACK server that buries another client keeps
it waiting for five seconds, and killing it then makes one more to be buried."""
QUIET_SECONDS = 2.0
"""After so long without a sign of life, of which there is one a second, what the player held is ended."""
ENDING_SECONDS = 1.0
"""How long a keeper that has closed its end may take until its process has gone."""


class KeeperProcess:
    """A keeper's process, our end of its channel, and a watch on its JACK server. OSError when it cannot be
    started. A keeper lives no longer than its server, so that one watch is enough.

    `like`: see `keeper_words`. `meeting` is where a keeper may wait that has lost its daemon."""

    def __init__(self, command: Sequence[str], like: Sequence[str], meeting: str, clock: Clock) -> None:
        left = left_keeper(meeting)
        self.process: subprocess.Popen[bytes] | LeftProcess
        ours, self.process = left or _begin(command, (*like, meeting))
        try:
            self.channel = Channel(ours)
        except BaseException:
            ours.close()
            self.kill("there is no channel to it")
            raise
        if left is not None:
            self.channel.send(value_frame(Kind.HELLO, list(like)))
        self.taken_over = left is not None
        self.view: PatchView | None = None
        self.alive_at = clock()
        self.quiet = False
        self._clock, self._how = clock, ""
        self._watch: JackWatch | None = None
        self._server_gone = False

    def saw(self, view: PatchView) -> None:
        """The keeper's patchbay looks so now."""
        self.view = view
        if self._watch is None and view.transport == "jack":
            self._watch = JackWatch.of_running_server()

    def receive(self) -> list[Frame] | None:
        """What it says next, or nothing when it has become `quiet`; None when it has ended, or had to be."""
        silence = self._clock() - self.alive_at
        patience = max((HANGING_SECONDS if self.quiet else QUIET_SECONDS) - silence, 0.0)
        frames = self.channel.receive(patience, [] if self._watch is None else [self._watch.handle])
        if self._watch is not None and self._watch.gone():
            self._server_gone = True
            self.kill("its JACK server has ended")  # so nobody has to bury it
            return None
        if frames:
            self.alive_at = self._clock()
        elif silence >= HANGING_SECONDS and frames is not None:  # nor was it we who were late to read
            self.kill("it hung and was killed")
            return None
        self.quiet = self._clock() - self.alive_at >= QUIET_SECONDS
        return frames

    def kill(self, how: str) -> None:
        """End it at once, and tell `how` it ended."""
        self._how = how
        self.process.kill()
        self._ended(None)

    @property
    def followed_its_server(self) -> bool:
        """Whether it came up and has ended in good order, or with its JACK server: no failure of its own."""
        return self.view is not None and (self._server_gone or (not self._how and not self._status()))

    def end(self) -> str:
        """Make sure that it has ended, and give back what it took; how it ended, in words."""
        if not self._ended(ENDING_SECONDS):
            self.kill("it did not end and was killed")
        self.channel.close()
        if self._watch is not None:
            self._watch.close()
        if isinstance(self.process, LeftProcess):
            self.process.close()
        return self._how or f"it ended with {self._status()}"

    def finish(self) -> None:
        """Have it close its ports in good order, and end. What was sent still arrives."""
        self.channel.send(value_frame(Kind.END))
        self.channel.finish()

    def _status(self) -> int:
        """How it ended. Of one that was taken over only its own daemon was told."""
        return 0 if isinstance(self.process, LeftProcess) else self.process.returncode

    def _ended(self, seconds: float | None) -> bool:
        try:
            return self.process.wait(seconds) is not False
        except subprocess.TimeoutExpired:
            return False


def _begin(command: Sequence[str], words: Sequence[str]) -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """Start a keeper: our end of the line to it, and its process."""
    ours, theirs = socket.socketpair()
    try:
        return ours, _start(command, words, theirs)
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()


def _start(command: Sequence[str], words: Sequence[str], theirs: socket.socket) -> subprocess.Popen[bytes]:
    """Start a keeper that has `theirs`."""
    if sys.platform == "win32":
        process = subprocess.Popen(  # noqa: S603 - our own program
            [*command, "stdin", *words], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
        )
        assert process.stdin is not None
        with contextlib.suppress(OSError), process.stdin as told:
            told.write(theirs.share(process.pid))
        return process
    # What a terminal sends to all that run in it is meant for us: kept back until the keeper ignores it.
    before = signal.pthread_sigmask(
        signal.SIG_BLOCK, (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP, signal.SIGHUP)
    )
    try:
        return subprocess.Popen(  # noqa: S603 - our own program
            [*command, str(theirs.fileno()), *words],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=(theirs.fileno(),),
        )  # fmt: skip
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
