"""What runs the network: ONNX Runtime on the exported graph, or the kernels in `native/` on its weights.

The native kernels are several times faster for the few tokens of a step and run on the processors they were
written for (x86 with AVX2 or AVX-512); ONNX Runtime runs anywhere, and whatever precision. Both keep the
key-value cache in the caller's arrays.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from plugin_bridge import _native
from plugin_bridge.engine.bundle import Style
from plugin_bridge.errors import BridgeError

Arrays = Mapping[str, NDArray[Any]]
"""A stream's arrays under the names of the graph's inputs: `past_key_i` and `past_value_i` [1, H, rows, K],
`plan_key_i`, `plan_value_i` and `plan_mask`, and the factors of an adapter."""

CHUNK = _native.MOST_TOKENS
"""Tokens in one pass at most."""
ROWS = _native.CACHE_ROWS
"""The rows of a cache are a multiple of this."""
CHOICE = "PLUGIN_BRIDGE_RUNTIME"
"""The variable of the environment that names a runtime where the program would choose another."""


_HEAD_WIDTHS = (16, 32, 48, 64, 96, 128)
_BLOCK = 32


class Pass(Protocol):
    """A stream on a network."""

    def extend(
        self,
        tokens: Sequence[int],
        metre: Sequence[int],
        context_used: int,
        window_used: int,
        every: bool = False,
    ) -> NDArray[np.float32]:
        """Append 1 to `CHUNK` tokens behind the rows in use, of layer 0's cache and of the others'. Returns
        the logits after the last, float32 [V], or after each, [S, V]; reused by the next call."""


class Runtime(Protocol):
    """A network that is loaded."""

    @property
    def name(self) -> str: ...
    def stream(self, arrays: Arrays) -> Pass:
        """Raises ValueError where an adapter does not fit the network."""


def load_runtime(style: Style, *, threads: int = 1, name: str | None = None) -> Runtime:
    """The network of a style on the fastest runtime that takes it, or on the one that is named: "native" or
    "onnx".

    `threads` are those of ONNX Runtime. Raises BridgeError where the weights cannot be loaded.
    """
    asked = name or os.environ.get(CHOICE) or None
    if asked not in (None, "native", "onnx"):
        raise BridgeError(f"there is no runtime {asked!r}: use native or onnx")
    fast = _native.network_kernels()[0] != "generic"
    if asked == "native" or (asked is None and fast and NativeRuntime.takes(style)):
        return NativeRuntime(style)
    return OnnxRuntime(style, threads=threads)


class NativeRuntime:
    """The kernels in `native/`."""

    @staticmethod
    def takes(style: Style) -> bool:
        """Whether the kernels can run a style: 8-bit weights, heads of whole groups of 16, blocks of 32."""
        sizes, hidden = style.sizes, style.description["network"]["feed_forward"]
        return (
            style.tensors_known
            and sizes.head_width in _HEAD_WIDTHS
            and sizes.heads * sizes.head_width % _BLOCK == 0
            and hidden % _BLOCK == 0
        )

    def __init__(self, style: Style, *, kernels: str | None = None) -> None:
        """`kernels`: one of `_native.network_kernels()`; the fastest where none is named."""
        sizes, tensors = style.sizes, style.tensors()
        matrices = 4 * (sizes.layers + 1) + 2 * len(set(sizes.chord_layers)) + 1
        if sum(name.endswith("_Q8") for name in tensors) != matrices:
            raise BridgeError(f"{style.folder}: its weights and its sizes differ; export the style again")
        try:
            self._network = _native.Network(
                tensors,
                heads=sizes.heads,
                head_width=sizes.head_width,
                context=sizes.context,
                window=sizes.window,
                layers=sizes.layers,
                chord_layers=list(sizes.chord_layers),
                plan_entries=sizes.plan_entries + 1,
                kernels=kernels,
            )
        except (TypeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise BridgeError(f"{style.folder}: its weights cannot be loaded ({reason})") from error

    @property
    def name(self) -> str:
        return f"native ({self._network.kernels})"

    def stream(self, arrays: Arrays) -> Pass:
        return _native.NetworkStream(self._network, dict(arrays))


class OnnxRuntime:
    """ONNX Runtime on `model.onnx`, with the cache bound as input and output."""

    name = "ONNX Runtime"

    def __init__(self, style: Style, *, threads: int = 1) -> None:
        self.session = open_session(style, MODEL_GRAPH, threads)
        self.style = style

    def stream(self, arrays: Arrays) -> Pass:
        known = {value.name: value.shape for value in self.session.get_overridable_initializers()}
        for name, array in arrays.items():
            if ".lora_" in name:
                side = 0 if name.endswith("A") else 1
                if name not in known or known[name][side] != array.shape[side]:
                    raise ValueError(name)
        return _OnnxPass(self.session, arrays, self.style.sizes.layers)


MODEL_GRAPH, PLAN_GRAPH = "model", "plan"


def open_session(style: Style, graph: str, threads: int = 1) -> Any:
    """An ONNX Runtime session of a style's graph. Raises BridgeError when it cannot be loaded."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    path = style.model_path if graph == MODEL_GRAPH else style.plan_path
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime raises types of its own for each kind of damage
        reason = str(error).splitlines()[0][:200]
        raise BridgeError(
            f"{style.folder}: its graphs cannot be loaded ({reason}); export the style again"
        ) from error


class _Binding:
    """The inputs and outputs of a pass of so many tokens, bound once."""

    def __init__(self, session: Any, make: Any, count: int, values: Mapping[str, Any], layers: int) -> None:
        self.io = session.io_binding()
        self.tokens, self.metre = np.zeros((1, count), np.int64), np.zeros((1, count), np.int64)
        vocabulary = session.get_outputs()[0].shape[-1]
        self.logits = np.zeros((1, count, vocabulary), np.float32)
        self.own = [make(array) for array in (self.tokens, self.metre, self.logits)]
        for name, value in values.items():
            self.io.bind_ortvalue_input(name, value)
        self.io.bind_ortvalue_input("tokens", self.own[0])
        self.io.bind_ortvalue_input("metre", self.own[1])
        self.io.bind_ortvalue_output("logits", self.own[2])
        for kind in ("key", "value"):
            for layer in range(layers + 1):
                self.io.bind_ortvalue_output(f"present_{kind}_{layer}", values[f"past_{kind}_{layer}"])


class _OnnxPass:
    def __init__(self, session: Any, arrays: Arrays, layers: int) -> None:
        import onnxruntime

        self._session, self._layers = session, layers
        self._make = onnxruntime.OrtValue.ortvalue_from_numpy
        self._last = {cache: np.zeros(1, np.int32) for cache in ("context", "window")}
        self._total = {cache: np.zeros((), np.int32) for cache in ("context", "window")}
        counts = {f"{cache}_last": array for cache, array in self._last.items()} | {
            f"{cache}_total": array for cache, array in self._total.items()
        }
        self._values = {name: self._make(array) for name, array in {**arrays, **counts}.items()}
        self._bindings: dict[int, _Binding] = {}

    def extend(
        self,
        tokens: Sequence[int],
        metre: Sequence[int],
        context_used: int,
        window_used: int,
        every: bool = False,
    ) -> NDArray[np.float32]:
        count = len(tokens)
        binding = self._bindings.get(count)
        if binding is None:
            binding = _Binding(self._session, self._make, count, self._values, self._layers)
            self._bindings[count] = binding
        binding.tokens[0] = tokens
        binding.metre[0] = metre
        for cache, used in (("context", context_used), ("window", window_used)):
            self._total[cache][...] = used + count
            self._last[cache][...] = used + count - 1
        self._session.run_with_iobinding(binding.io)
        logits: NDArray[np.float32] = binding.logits[0] if every else binding.logits[0, -1]
        return logits
