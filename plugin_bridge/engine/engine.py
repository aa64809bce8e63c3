"""The engine: one ONNX session, its key-value cache in shared buffers, and four verbs.

`extend` (prefill and step alike), `rewind`, `set_plan` and `fork`. The buffers are bound once; the graph
writes new keys and values in place behind the ones there are. Keys carry no position, so a rewind is a
change of a number, and when a buffer is full the rows still needed are moved to its front.

An engine belongs to one thread at a time. Every call is plain computation: nothing waits or sleeps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plugin_bridge.engine.bundle import Sizes, Style
from plugin_bridge.errors import BridgeError
from plugin_bridge.music import vocabulary as v

MAX_REWIND = 256
"""Tokens that can be taken back at any time, however long the stream."""
SLACK = 256
"""Rows beyond what attention and rewinding need; when they are used up the buffer slides."""
CHUNK = 64
"""Tokens in one pass at most; more are given in several."""

_HIDDEN = float(np.finfo(np.float32).min)


@dataclass(slots=True)
class _Band:
    """One set of buffers that slide together: the context of layer 0, or the window of the others.

    `offset` is the stream position of row 0. Rows before `length - offset` hold what was written.
    """

    span: int
    rows: int
    buffers: list[NDArray[np.float32]]
    last: NDArray[np.int32]
    total: NDArray[np.int32]
    offset: int = 0

    def make_room(self, length: int, count: int) -> None:
        """Move the rows that are still needed to the front when `count` more would not fit."""
        used = length - self.offset
        if used + count <= self.rows:
            return
        keep = min(used, self.span - 1 + MAX_REWIND)
        for buffer in self.buffers:
            buffer[:, :, :keep] = buffer[:, :, used - keep : used].copy()
        self.offset = length - keep

    def reaches(self, length: int) -> bool:
        """Whether every row that attention needs at `length` is still there."""
        return self.offset == 0 or length - self.offset >= self.span - 1

    def announce(self, length: int, count: int) -> None:
        """Tell the graph where the new rows go."""
        self.total[...] = length + count - self.offset
        self.last[...] = length + count - self.offset - 1


@dataclass(slots=True)
class _Binding:
    io: Any
    tokens: NDArray[np.int64]
    metre: NDArray[np.int64]
    logits: NDArray[np.float32]
    values: list[Any]  # keeps the memory alive that `io` points to


@dataclass(frozen=True, slots=True)
class PlanWindow:
    """The chords around now, `before` + 1 + `after` entries of (root, quality, bass) ids; None where
    there is none or it is not known. Entry `before` is the one that sounds."""

    entries: tuple[tuple[int, int, int] | None, ...]


class Engine:
    """A style, loaded, with the cache of one stream."""

    style: Style
    _settings: tuple[int, str]
    _length: int
    _bands: tuple[_Band, _Band]
    _bindings: dict[int, _Binding]
    _values: dict[str, Any]
    _outputs: list[tuple[str, Any]]
    _entries: int
    _plan_names: list[str]
    _plan_arrays: dict[str, NDArray[np.float32]]
    _plan_entries: tuple[tuple[int, int, int] | None, ...]
    _mask: NDArray[np.float32]

    def __init__(self, style: Style, *, threads: int = 1, provider: str = "CPUExecutionProvider") -> None:
        """Raises BridgeError when the graphs cannot be loaded. `threads` of the session; one is best for
        steps of a model this small."""
        import onnxruntime

        onnxruntime.set_default_logger_severity(3)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(style.model_path, options, providers=[provider])
            self._plan_session = onnxruntime.InferenceSession(style.plan_path, options, providers=[provider])
        except Exception as error:  # the runtime raises types of its own for each kind of damage
            reason = str(error).splitlines()[0][:200]
            raise BridgeError(
                f"{style.folder}: its graphs cannot be loaded ({reason}); export the style again"
            ) from error
        self.style = style
        self._make = onnxruntime.OrtValue.ortvalue_from_numpy
        self._settings = (threads, provider)
        self._allocate()

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
        logits = self.extend_all(tokens, metre) if len(tokens) > CHUNK else self._pass(tokens, metre)
        last: NDArray[np.float32] = logits[-1]
        return last

    def extend_all(self, tokens: Sequence[int], metre: Sequence[int]) -> NDArray[np.float32]:
        """As `extend`, with the logits after every token, float32 [S, V] (a copy)."""
        parts = [
            self._pass(tokens[at : at + CHUNK], metre[at : at + CHUNK]).copy()
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
            threads, provider = self._settings
            return Engine(style, threads=threads, provider=provider)
        twin = object.__new__(Engine)
        twin._session, twin._plan_session, twin._make, twin._settings = (
            self._session, self._plan_session, self._make, self._settings,
        )  # fmt: skip
        twin.style = style
        twin._allocate()
        return twin

    def _bind_factors(self) -> None:
        """What adapters add is bound once, as inputs that the graph otherwise takes as empty."""
        known = {value.name: value.shape for value in self._session.get_overridable_initializers()}
        for name, array in self.style.factors.items():
            side = 0 if name.endswith("A") else 1
            if name not in known or known[name][side] != array.shape[side]:
                raise BridgeError(f"{self.style.name}: an adapter does not fit the base ({name})")
            self._share(name, array)

    def _allocate(self) -> None:
        sizes = self.style.sizes
        self._length = 0
        self._bindings = {}
        self._values = {}
        self._outputs = []
        context, window = (_band(sizes, span) for span in (sizes.context, sizes.window))
        self._bands = (context, window)
        for name, band in (("context", context), ("window", window)):
            self._share(f"{name}_last", band.last)
            self._share(f"{name}_total", band.total)
        for layer in range(sizes.layers + 1):
            band = context if layer == 0 else window
            for kind in ("key", "value"):
                buffer = np.zeros((1, sizes.heads, band.rows, sizes.head_width), np.float32)
                band.buffers.append(buffer)
                self._outputs.append((f"present_{kind}_{layer}", self._share(f"past_{kind}_{layer}", buffer)))
        self._entries = sizes.plan_before + 1 + sizes.plan_after
        self._plan_names = [out.name for out in self._plan_session.get_outputs()]
        self._plan_arrays = {}
        for name in self._plan_names:
            ends = (sizes.head_width, 1 + self._entries)
            shape = ends if name.startswith("plan_key") else ends[::-1]
            self._plan_arrays[name] = np.zeros((1, sizes.heads, *shape), np.float32)
            self._share(name, self._plan_arrays[name])
        self._mask = np.zeros((1, 1, 1, 1 + self._entries), np.float32)
        self._share("plan_mask", self._mask)
        self._bind_factors()
        self._plan_entries = ()
        self.set_plan(None)

    def _share(self, name: str, array: NDArray[Any]) -> Any:
        """An OrtValue on the memory of `array`, which stays ours to read and write."""
        value = self._make(array)
        self._values[name] = value
        return value

    def _binding(self, count: int) -> _Binding:
        found = self._bindings.get(count)
        if found is None:
            io = self._session.io_binding()
            tokens, metre = np.zeros((1, count), np.int64), np.zeros((1, count), np.int64)
            logits = np.zeros((1, count, v.SIZE), np.float32)
            for name, value in self._values.items():
                io.bind_ortvalue_input(name, value)
            own = [self._make(array) for array in (tokens, metre, logits)]
            io.bind_ortvalue_input("tokens", own[0])
            io.bind_ortvalue_input("metre", own[1])
            io.bind_ortvalue_output("logits", own[2])
            for name, value in self._outputs:
                io.bind_ortvalue_output(name, value)
            found = self._bindings[count] = _Binding(io, tokens, metre, logits[0], own)
        return found

    def _pass(self, tokens: Sequence[int], metre: Sequence[int]) -> NDArray[np.float32]:
        """One pass of up to `CHUNK` tokens; the logits after each, in a buffer that is reused."""
        count = len(tokens)
        binding = self._binding(count)
        binding.tokens[0] = tokens
        binding.metre[0] = metre
        for band in self._bands:
            band.make_room(self._length, count)
            band.announce(self._length, count)
        self._session.run_with_iobinding(binding.io)
        self._length += count
        return binding.logits


def _band(sizes: Sizes, span: int) -> _Band:
    rows = span + MAX_REWIND + SLACK
    return _Band(span, rows, [], np.zeros(1, np.int32), np.zeros((), np.int32))
