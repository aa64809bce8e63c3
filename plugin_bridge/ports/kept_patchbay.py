"""The patchbay as the daemon has it: the real one runs in a keeper's process, which is started again when it
ends, fails or hangs. To a session this is a pair of ports that is never lost.

When a keeper is lost, the notes and pedals that the player held are ended for the session; the next one
sweeps every output that it opens, and connects by the same patterns. What is sent meanwhile is dropped. A
keeper that a daemon left behind which has died is taken over, with its ports.

Threads: one, which starts keepers, reads what they say, calls the callback, and sleeps while nobody says
anything. All public methods may be called from any thread and wait for nothing; `close` joins the thread.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Sequence
from types import TracebackType

from plugin_bridge.errors import BridgeError
from plugin_bridge.ports.clock import Clock, now
from plugin_bridge.ports.connections import DIRECTIONS, Connections, Direction
from plugin_bridge.ports.delivery import Delivery
from plugin_bridge.ports.frames import Frame, Kind, keeper_words, value_frame, view_from
from plugin_bridge.ports.held import Held
from plugin_bridge.ports.keeper_process import KeeperProcess
from plugin_bridge.ports.patch_view import PatchView, Side, view_of
from plugin_bridge.ports.priority import ask_for_realtime
from plugin_bridge.ports.transport import Transport
from plugin_bridge.ports.wire import MessageCallback, PortStats, check_message

logger = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.25, 8.0
"""Seconds until a keeper is started in the place of one that failed: doubled each time it fails soon."""
SOUND_SECONDS = 10.0
"""A keeper that lived as long as this was well: the pause begins anew."""
STARTING = "the MIDI ports are being started; if that lasts, the log says why"
KEEPER = (sys.executable, "-P", "-m", "plugin_bridge.ports.keeper")


class KeptPatchbay:
    """See the module, and `Patches` for the contract. Nothing is opened until `start`, or the `with`
    statement. `wanted` is the transport to use; None: what there is. `made`, `which`: see `Patchbay`.
    `meeting` is where a keeper waits whose daemon has died (see `keeper_meeting`). `changed` is called, in
    the thread, when the view may have changed: it returns at once and raises nothing."""

    def __init__(
        self,
        input_name: str,
        output_name: str,
        connections: Connections = Connections(),  # noqa: B008 - immutable
        wanted: Transport | None = None,
        *,
        made: Sequence[Direction] = DIRECTIONS,
        which: Sequence[int] = (0, 0),
        meeting: str = "",
        changed: Callable[[], None] = lambda: None,
        command: Sequence[str] = KEEPER,
        clock: Clock = now,
    ) -> None:
        self.input_name, self.output_name = input_name, output_name
        self._made, self._changed = made, changed
        self._like = keeper_words(wanted or "any", input_name, output_name, made, which)
        self._command, self._meeting, self._clock = command, meeting, clock
        self._connections = connections
        self._deliver = Delivery(input_name)
        self._keeper: KeeperProcess | None = None
        self._held = Held()
        self._sent = 0
        self._closing = threading.Event()
        self._lock = threading.Lock()  # guards `_keeper` and `_connections` while they are set
        self._thread = threading.Thread(target=self._run, name="ports", daemon=True)

    @property
    def transport(self) -> Transport:
        """How ports are reached now; "loopback" while there is no MIDI system."""
        return self.view().transport

    @property
    def connections(self) -> Connections:
        """The patterns that are followed."""
        return self._connections

    @property
    def process(self) -> int | None:
        """The number of the keeper's process, while there is one."""
        keeper = self._keeper
        return None if keeper is None else keeper.process.pid

    def start(self) -> None:
        """Open what is there, and follow what comes and goes, from now on. Returns at once."""
        self._thread.start()

    def follow(self, connections: Connections) -> None:
        """Connect by these patterns from now on; what they do not mean is let go."""
        with self._lock:
            self._connections = connections
            if self._keeper is not None:
                self._tell_connections(self._keeper)

    def listen(self, callback: MessageCallback | None) -> None:
        """Call `callback(message, time)` for each message from now on; None stops that."""
        self._deliver.callback = callback

    def send(self, message: bytes) -> None:
        """Send one whole message to every output that is there. ValueError for what is no message. SysEx
        goes to our own ports only: it is meant for programs that know us."""
        check_message(message)
        if self._closing.is_set():
            raise BridgeError(f"MIDI port {self.output_name!r} is closed")
        self._sent += 1
        keeper = self._keeper
        if keeper is not None:
            keeper.channel.send_midi(message, self._clock())

    def stats(self) -> PortStats:
        """Counts so far; `lost` is always None."""
        return PortStats(self._deliver.received, self._sent, self._deliver.failed, None)

    def view(self) -> PatchView:
        """What is there, what is connected, and what is wrong."""
        keeper = self._keeper
        if keeper is not None and keeper.view is not None:
            return keeper.view
        names = {"input": self.input_name, "output": self.output_name}
        sides = {
            each: Side(
                (), self._connections.patterns(each), frozenset(), names[each] if each in self._made else ""
            )
            for each in DIRECTIONS
        }
        return view_of(sides, (), "loopback", (STARTING,), 0)

    def close(self) -> None:
        """Close all ports, with everything off. Once this returns no callback runs. May be repeated."""
        if threading.current_thread() is self._thread:
            raise RuntimeError("close() may not be called from the input callback")
        with self._lock:
            self._closing.set()
            self._deliver.callback = None
            if self._keeper is not None:
                self._keeper.finish()
        if self._thread.ident is not None:
            self._thread.join()

    def __enter__(self) -> KeptPatchbay:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # the thread

    def _run(self) -> None:
        ask_for_realtime()
        pause = FIRST_PAUSE
        while not self._closing.is_set():
            began = self._clock()
            try:
                in_order, how = self._one_keeper()
            except Exception as error:  # whatever it was: without this thread there are no ports
                logger.exception("a port keeper failed")
                in_order, how = False, repr(error)
            self._let_go()
            if self._closing.is_set():
                return
            self._changed()
            logger.warning("the port keeper is started again: %s", how)
            if in_order or self._clock() - began > SOUND_SECONDS:
                pause = FIRST_PAUSE
            if not in_order:
                self._closing.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE)

    def _one_keeper(self) -> tuple[bool, str]:
        """One keeper's life: whether it ended in order, and how."""
        try:
            keeper = KeeperProcess(self._command, self._like, self._meeting, self._clock)
        except OSError as error:
            return False, f"it cannot be started: {error}"
        try:
            self._listen_to(keeper)
        except Exception as error:
            keeper.kill(f"it was killed: {error!r}")
            raise
        finally:
            with self._lock:
                self._keeper = None
            how = keeper.end()
        return keeper.followed_its_server, how

    def _listen_to(self, keeper: KeeperProcess) -> None:
        """Hear what it says until it has ended, or hangs."""
        if keeper.taken_over:
            logger.info("the ports of a daemon that has died are taken over")
        with self._lock:
            self._keeper = keeper
            self._tell_connections(keeper)
            if self._closing.is_set():
                keeper.finish()
        while (frames := keeper.receive()) is not None:
            if keeper.quiet:  # it may have frozen: nobody hears the player let go of a key
                self._let_go()
            for frame in frames:
                self._hear(keeper, frame)

    def _hear(self, keeper: KeeperProcess, frame: Frame) -> None:
        match frame.kind:
            case Kind.MIDI:
                message, arrived = frame.midi
                self._held.follow(message)
                self._deliver(message, arrived)
            case Kind.VIEW:
                keeper.saw(view_from(frame.value))
                self._changed()
            case Kind.LOG:
                level, name, text = frame.value
                logging.getLogger(name).log(level, "%s", text)

    def _let_go(self) -> None:
        """End what the player held, for the session."""
        for message in self._held.end():
            self._deliver(message, self._clock())

    def _tell_connections(self, keeper: KeeperProcess) -> None:
        wanted = {"listen": self._connections.listen, "play": self._connections.play}
        keeper.channel.send(value_frame(Kind.FOLLOW, wanted))
