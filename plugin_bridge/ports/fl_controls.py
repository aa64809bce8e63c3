"""Knobs and buttons of the player's controllers, learned for the partner's controls.

A controller in FL Studio that has the Plugin Bridge script reports every control change it hears. To learn,
name a control: the next knob that moves is the one for it. Values are scaled to the control's range.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

Control = tuple[str, float, float]
"""Name, least and greatest value."""

MOST_CHANGES = 256
"""Changes that wait to be taken; of more, the oldest are lost."""
_MOST_SOURCES = 16
_AHEAD = 1 << 15


@dataclass(frozen=True, slots=True)
class Binding:
    """Controller `number` (0..127) on MIDI channel `channel` (0..15) is the knob for `control`."""

    control: str
    channel: int
    number: int


@dataclass(frozen=True, slots=True)
class ControlChange:
    """`control` was set to `value`, within its range. A button gives its greatest value when pressed and its
    least when released."""

    control: str
    value: float
    time: float


class LearnedControls:
    """Which knob stands for which control, and what was turned."""

    def __init__(self, controls: Iterable[Control], bindings: Iterable[Binding] = ()) -> None:
        """`bindings` of controls that are not there are left out. ValueError when a range is empty or a name
        comes twice."""
        self._ranges: dict[str, tuple[float, float]] = {}
        for name, least, greatest in controls:
            if name in self._ranges or not least < greatest:
                raise ValueError(f"control {name!r} comes twice, or its range {least} to {greatest} is empty")
            self._ranges[name] = least, greatest
        self._bound = {(b.channel, b.number): b.control for b in bindings if b.control in self._ranges}
        self._changes: deque[ControlChange] = deque(maxlen=MOST_CHANGES)
        self._last: dict[int, int] = {}  # by who reports
        self.learning: str | None = None

    @property
    def bindings(self) -> tuple[Binding, ...]:
        """What was learned, in a fixed order: for a file, and for the next start."""
        return tuple(Binding(name, *knob) for knob, name in sorted(self._bound.items()))

    def learn(self, control: str | None) -> None:
        """The next knob that moves is for `control`; None: do not learn. ValueError for no such control."""
        if control is not None and control not in self._ranges:
            raise ValueError(f"no control {control!r}; there are {', '.join(self._ranges)}")
        self.learning = control

    def forget(self, control: str) -> None:
        """No knob stands for `control` any more."""
        self._bound = {knob: name for knob, name in self._bound.items() if name != control}

    def take(self) -> tuple[ControlChange, ...]:
        """What was turned since the last call, in order."""
        changes = tuple(self._changes)
        self._changes.clear()
        return changes

    def moved(self, source: int, last: int, moves: bytes, time: float) -> None:
        """`source` reports moves of three bytes each (channel, number, value), the last of them its `last`-th
        of all, modulo 65536. Reports repeat what came shortly before; that is passed over."""
        count = len(moves) // 3
        known = self._last.get(source)
        new = count if known is None else (last - known) % 65536
        if new >= _AHEAD:
            return  # an older report, come late
        self._last.pop(source, None)
        self._last[source] = last
        if len(self._last) > _MOST_SOURCES:
            del self._last[next(iter(self._last))]
        for index in range(max(0, count - new), count):
            channel, number, value = moves[3 * index : 3 * index + 3]
            if channel < 16 and number < 128 and value < 128:
                self._move(channel, number, value, time)

    def _move(self, channel: int, number: int, value: int, time: float) -> None:
        if self.learning is not None:
            self.forget(self.learning)
            self._bound[channel, number] = self.learning
            self.learning = None
            return  # to learn the panic button is no reason to panic
        control = self._bound.get((channel, number))
        if control is not None:
            least, greatest = self._ranges[control]
            self._changes.append(ControlChange(control, least + (greatest - least) * value / 127, time))
