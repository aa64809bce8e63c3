"""A port keeper's process as the daemon has it: started, listened to, and ended when it hangs or its JACK
server has gone.

Threads: all belongs to one, but for what `Channel` allows to others.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Sequence

from plugin_bridge.ports.channel import Channel
from plugin_bridge.ports.clock import Clock
from plugin_bridge.ports.frames import Frame
from plugin_bridge.ports.jack_watch import JackWatch
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
    started. A keeper lives no longer than its server, so that one watch is enough."""

    def __init__(self, command: Sequence[str], words: Sequence[str], clock: Clock) -> None:
        ours, theirs = socket.socketpair()
        try:
            self.process = _start(command, words, theirs)
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        self.channel = Channel(ours)
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
        if silence >= HANGING_SECONDS:
            self._kill("it hung and was killed")
            return None
        patience = (HANGING_SECONDS if self.quiet else QUIET_SECONDS) - silence
        frames = self.channel.receive(patience, [] if self._watch is None else [self._watch.handle])
        if self._watch is not None and self._watch.gone():
            self._server_gone = True
            self._kill("its JACK server has ended")  # so nobody has to bury it
            return None
        if frames:
            self.alive_at = self._clock()
        self.quiet = self._clock() - self.alive_at >= QUIET_SECONDS
        return frames

    @property
    def followed_its_server(self) -> bool:
        """Whether it came up and has ended in good order, or with its JACK server: no failure of its own."""
        return self.view is not None and (self.process.returncode == 0 or self._server_gone)

    def end(self) -> str:
        """Make sure that it has ended, and give back what it took; how it ended, in words."""
        try:
            self.process.wait(ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            self._kill("it did not end and was killed")
        self.channel.close()
        if self._watch is not None:
            self._watch.close()
        return self._how or f"it ended with {self.process.returncode}"

    def _kill(self, how: str) -> None:
        self._how = how
        self.process.kill()
        self.process.wait()


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
    return subprocess.Popen(  # noqa: S603 - our own program
        [*command, str(theirs.fileno()), *words],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=(theirs.fileno(),),
    )  # fmt: skip
