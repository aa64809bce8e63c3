"""Knobs and buttons of the player's controllers, learned for the partner's controls.

To learn, name a control: the next knob or button that moves is the one for it, from then on and at later
starts. It does not matter where it is heard, at a port or through FL Studio. Until it is learned anew or
forgotten it stands for that control and for nothing else, whatever the control table says of its number.

Threads: `hear` is called by the session's worker, the rest by any. What was learned is written to its file by
a thread that ends with it.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from plugin_bridge.duet.conductor import Item, Message, Setting
from plugin_bridge.duet.controls import control
from plugin_bridge.errors import BridgeError
from plugin_bridge.files import atomic_path
from plugin_bridge.ports.messages import CONTROL_CHANGE

logger = logging.getLogger(__name__)

NO_KNOBS = frozenset((0, 6, 32, 38, 64, 96, 97, 98, 99, 100, 101, *range(120, 128)))
"""Controllers that mean something else: banks, parameters, the pedal, channel modes."""


@dataclass(frozen=True, slots=True, order=True)
class Knob:
    """Controller `number` (0 to 127) on MIDI channel `channel` (1 to 16)."""

    channel: int
    number: int

    def __str__(self) -> str:
        return f"controller {self.number} on channel {self.channel}"


class Knobs:
    """Which knob stands for which control. `path` is the file they are kept in (None: they are not kept),
    `on_learned` is called in the worker's thread with a control and the knob that was learned for it.
    BridgeError when the file is damaged."""

    def __init__(
        self, path: Path | None = None, on_learned: Callable[[str, Knob], object] = lambda name, knob: None
    ) -> None:
        self.on_learned = on_learned
        self._path = path
        self._knobs = {} if path is None else read_knobs(path)
        self._learning: str | None = None
        self._watchers: tuple[Callable[[], object], ...] = ()
        self._lock, self._file_lock = threading.Lock(), threading.Lock()
        self._keeper: threading.Thread | None = None

    @property
    def knobs(self) -> dict[str, Knob]:
        """What was learned, by control."""
        with self._lock:
            return dict(self._knobs)

    @property
    def learning(self) -> str | None:
        """The control whose knob is waited for."""
        return self._learning

    @property
    def said(self) -> str:
        """What is to be done now, for a line on a screen; nothing while nothing is learned."""
        name = self._learning
        return f"Plugin Bridge: move the knob for {name}" if name else ""

    def learn(self, name: str | None) -> None:
        """The next knob that moves is for the control `name`; None: do not learn. BridgeError for a control
        that is not there."""
        self._learning = None if name is None else control(name).name
        self._tell_watchers()

    @contextmanager
    def watched(self, changed: Callable[[], object]) -> Iterator[None]:
        """Meanwhile `changed` is called whenever a control begins or ends to be learned, in the thread that
        makes it so; it must return at once."""
        with self._lock:
            self._watchers += (changed,)
        try:
            yield
        finally:
            with self._lock:
                self._watchers = tuple(each for each in self._watchers if each is not changed)

    def forget(self, name: str) -> None:
        """No knob stands for the control any more. BridgeError where none did."""
        row = control(name)
        with self._lock:
            if row.name not in self._knobs:
                raise BridgeError(f"no knob was learned for {row.name}")
            del self._knobs[row.name]
        self._keep()

    def settle(self) -> None:
        """Wait until what was learned is in the file."""
        if self._keeper is not None:
            self._keeper.join()

    def hear(self, item: Item) -> Item | None:
        """`item` as it is meant: what a learned knob sends is the setting of a control. None: it was learned
        just now, and does nothing yet: to learn the panic button is no reason to panic."""
        match item:
            case Message(data) if len(data) == 3 and data[0] & 0xF0 == CONTROL_CHANGE:
                return self._turned(item, Knob((data[0] & 0x0F) + 1, data[1]), data[2])
        return item

    def _turned(self, item: Item, knob: Knob, value: int) -> Item | None:
        with self._lock:
            name, self._learning = self._learning, None
            if name is None or knob.number in NO_KNOBS:
                self._learning = name
                found = next((each for each, theirs in self._knobs.items() if theirs == knob), None)
                return item if found is None else Setting(found, control(found).at(value))
            self._knobs = {each: theirs for each, theirs in self._knobs.items() if theirs != knob}
            self._knobs[name] = knob
        self._keeper = threading.Thread(target=self._keep, name="knobs")  # files are slow
        self._keeper.start()
        self._tell_watchers()
        self.on_learned(name, knob)
        return None

    def _tell_watchers(self) -> None:
        for changed in self._watchers:
            changed()

    def _keep(self) -> None:
        if self._path is None:
            return
        try:
            with self._file_lock:
                write_knobs(self.knobs, self._path)
        except OSError as error:
            logger.error("%s: what was learned is not kept (%s)", self._path, error)


def read_knobs(path: Path) -> dict[str, Knob]:
    """What was learned, by control; nothing where there is no file. BridgeError for a damaged one."""
    try:
        found = {
            control(name).name: Knob(int(each["channel"]), int(each["number"]))
            for name, each in json.loads(path.read_text(encoding="utf-8")).items()
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, BridgeError) as error:
        raise BridgeError(f"{path}: is damaged ({error}); delete it and learn again") from None
    for knob in found.values():
        if not (1 <= knob.channel <= 16 and 0 <= knob.number <= 127):
            raise BridgeError(f"{path}: {knob} cannot be; delete it and learn again")
    return found


def write_knobs(knobs: Mapping[str, Knob], path: Path) -> None:
    """Keep what was learned; the file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        text = json.dumps({name: asdict(knob) for name, knob in sorted(knobs.items())}, indent=1)
        temporary.write_text(text + "\n", encoding="utf-8")
