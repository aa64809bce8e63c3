"""The engine: a network, its key-value cache in preallocated buffers, and four verbs.

`extend` (prefill and step alike), `rewind`, `set_plan` and `fork`. The runtime (`runtimes`) writes new keys
and values in place behind the ones there are. Keys carry no position, so a rewind is a change of a number,
and when a buffer is full the rows still needed are moved to its front.

An engine belongs to one thread at a time. Every call is plain computation: nothing waits or sleeps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plugin_bridge.engine.bundle import Style
from plugin_bridge.engine.runtimes import CHUNK, PLAN_GRAPH, ROWS, Pass, Runtime, load_runtime, open_session
from plugin_bridge.errors import BridgeError

MAX_REWIND = 256
"""Tokens that can be taken back at any time, however long the stream."""
SLACK = 256
"""Rows beyond what attention and rewinding need; when they are used up the buffer slides."""
_HIDDEN = float(np.finfo(np.float32).min)


@dataclass(slots=True)
class _Band:
    """One set of buffers that slide together: the context of layer 0, or the window of the others.

    `offset` is the stream position of row 0. Rows before `length - offset` hold what was written.
    """

    span: int
    rows: int
    buffers: list[NDArray[np.float32]]
    offset: int = 0

    def make_room(self, length: int, count: int) -> None:
        """Move the rows that are still needed to the front when `count` more would not fit. By whole groups
        of `ROWS`: kernels add up group by group, and a stream must not depend on when it slid."""
        used = length - self.offset
        if used + count <= self.rows:
            return
        away = max(used - (self.span - 1 + MAX_REWIND), 0) // ROWS * ROWS
        for buffer in self.buffers:
            buffer[:, :, : used - away] = buffer[:, :, away:used].copy()
        self.offset += away

    def reaches(self, length: int) -> bool:
        """Whether every row that attention needs at `length` is still there."""
        return self.offset == 0 or length - self.offset >= self.span - 1


@dataclass(frozen=True, slots=True)
class PlanWindow:
    """The chords around now, `before` + 1 + `after` entries of (root, quality, bass) ids; None where
    there is none or it is not known. Entry `before` is the one that sounds."""

    entries: tuple[tuple[int, int, int] | None, ...]


class Engine:
    """A style, loaded, with the cache of one stream."""

    style: Style
    _network: Runtime
    _plan_session: Any
    _settings: tuple[int, str | None]
    _length: int
    _bands: tuple[_Band, _Band]
    _pass: Pass
    _entries: int
    _plan_names: list[str]
    _plan_arrays: dict[str, NDArray[np.float32]]
    _plan_entries: tuple[tuple[int, int, int] | None, ...]
    _mask: NDArray[np.float32]

    def __init__(self, style: Style, *, threads: int = 1, runtime: str | None = None) -> None:
        """Raises BridgeError when the style cannot be loaded. `runtime`: "native" or "onnx" in place of the
        one that is best here; `threads` of ONNX Runtime, one is best for steps of a model this small."""
        self.style = style
        self._settings = (threads, runtime)
        self._network = load_runtime(style, threads=threads, name=runtime)
        self._plan_session = open_session(style, PLAN_GRAPH)
        self._allocate()

    @property
    def runtime(self) -> str:
        """What runs the network, for reports."""
        return self._network.name

    @property
    def length(self) -> int:
        """Tokens in the stream."""
        return self._length

    @property
    def oldest_length(self) -> int:
        """The shortest length that `rewind` can go back to."""
        return max(0, *(band.offset + band.span - 1 if band.offset else 0 for band in self._bands))

    def extend(self, tokens: Sequence[int], metre: Sequence[int]) -> NDArray[np.float32]:
        """Append tokens with their metrical positions (one each) and return the logits for what follows
        the last, float32 [V]. The array is reused by the next call."""
        if not 0 < len(tokens) == len(metre):
            raise ValueError("extend needs at least one token, and a metrical position for each")
        for at in range(0, len(tokens), CHUNK):
            logits = self._append(tokens[at : at + CHUNK], metre[at : at + CHUNK])
        return logits

    def extend_all(self, tokens: Sequence[int], metre: Sequence[int]) -> NDArray[np.float32]:
        """As `extend`, with the logits after every token, float32 [S, V] (a copy)."""
        parts = [
            self._append(tokens[at : at + CHUNK], metre[at : at + CHUNK], every=True).copy()
            for at in range(0, len(tokens), CHUNK)
        ]
        return np.concatenate(parts)

    def rewind(self, length: int) -> None:
        """Forget everything after the first `length` tokens. Raises ValueError beyond `MAX_REWIND` when
        what is needed is no longer kept."""
        if not 0 <= length <= self._length or not all(band.reaches(length) for band in self._bands):
            raise ValueError(
                f"cannot rewind to {length}: from {self.oldest_length} to {self._length} is kept"
            )
        self._length = length

    def reset(self) -> None:
        """Begin an empty stream; the plan stays."""
        for band in self._bands:
            band.offset = 0
        self._length = 0

    def set_plan(self, plan: PlanWindow | None) -> None:
        """The chords around now, for all tokens from here on; None where there is no plan."""
        entries = plan.entries if plan is not None else (None,) * self._entries
        if len(entries) != self._entries:
            raise ValueError(f"a plan window has {self._entries} entries, not {len(entries)}")
        if entries == self._plan_entries:
            return
        columns = np.array([entry or (0, 0, 0) for entry in entries], np.int64)
        feed = {
            name: np.ascontiguousarray(columns[:, i]) for i, name in enumerate(("root", "quality", "bass"))
        }
        for name, value in zip(self._plan_names, self._plan_session.run(self._plan_names, feed), strict=True):
            self._plan_arrays[name][...] = value
        self._mask[0, 0, 0, 1:] = [0.0 if entry is not None else _HIDDEN for entry in entries]
        self._plan_entries = entries

    def fork(self) -> Engine:
        """A second stream that begins as this one stands: the session is shared, the cache is copied."""
        twin = self.with_style(self.style)
        for mine, theirs in zip(self._bands, twin._bands, strict=True):
            theirs.offset = mine.offset
            used = self._length - mine.offset
            for source, target in zip(mine.buffers, theirs.buffers, strict=True):
                target[:, :, :used] = source[:, :, :used]
        for name, array in self._plan_arrays.items():
            twin._plan_arrays[name][...] = array
        twin._mask[...] = self._mask
        twin._plan_entries = self._plan_entries
        twin._length = self._length
        return twin

    def with_style(self, style: Style) -> Engine:
        """An empty stream in another style; where that plays on the same graphs, they are shared."""
        if style.folder != self.style.folder:
            threads, runtime = self._settings
            return Engine(style, threads=threads, runtime=runtime)
        twin = object.__new__(Engine)
        twin._network, twin._plan_session, twin._settings = self._network, self._plan_session, self._settings
        twin.style = style
        twin._allocate()
        return twin

    def shares_network(self, other: Engine) -> bool:
        """Whether both run on one copy of the weights."""
        return self._network is other._network

    def _allocate(self) -> None:
        sizes = self.style.sizes
        self._length = 0
        arrays: dict[str, NDArray[np.float32]] = {}
        context, window = self._bands = (_band(sizes.context), _band(sizes.window))
        for layer in range(sizes.layers + 1):
            band = context if layer == 0 else window
            for kind in ("key", "value"):
                buffer = np.zeros((1, sizes.heads, band.rows, sizes.head_width), np.float32)
                band.buffers.append(buffer)
                arrays[f"past_{kind}_{layer}"] = buffer
        self._entries = sizes.plan_entries
        self._plan_names = [out.name for out in self._plan_session.get_outputs()]
        self._plan_arrays = {}
        for name in self._plan_names:
            ends = (sizes.head_width, 1 + self._entries)
            shape = ends if name.startswith("plan_key") else ends[::-1]
            self._plan_arrays[name] = np.zeros((1, sizes.heads, *shape), np.float32)
        self._mask = np.zeros((1, 1, 1, 1 + self._entries), np.float32)
        arrays |= self._plan_arrays | {"plan_mask": self._mask} | dict(self.style.factors)
        try:
            self._pass = self._network.stream(arrays)
        except ValueError as error:
            raise BridgeError(f"{self.style.name}: an adapter does not fit the base ({error})") from error
        self._plan_entries = ()
        self.set_plan(None)

    def _append(
        self, tokens: Sequence[int], metre: Sequence[int], every: bool = False
    ) -> NDArray[np.float32]:
        """One pass of up to `CHUNK` tokens."""
        for band in self._bands:
            band.make_room(self._length, len(tokens))
        context, window = (self._length - band.offset for band in self._bands)
        logits = self._pass.extend(tokens, metre, context, window, every)
        self._length += len(tokens)
        return logits


def _band(span: int) -> _Band:
    return _Band(span, -(-(span + MAX_REWIND + SLACK) // ROWS) * ROWS, [])
