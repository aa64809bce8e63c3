"""The network as ONNX graphs, written node by node from its weights.

Two graphs make a style: `model.onnx` takes new tokens and the key-value cache in shared buffers
(prefill and step alike), `plan.onnx` turns a window of chords into the keys and values that the first
attends to, once for each chord change. Attention is ONNX Runtime's GroupQueryAttention: with one buffer
bound as past and present it writes in place, `local_window_size` is the span, the learned relative
term comes in as its attention bias.
"""

from __future__ import annotations

import math

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from model.config import PLAN_AFTER, PLAN_BEFORE, NetworkConfig
from model.network import ChordAttention, DuetNetwork, RelativeAttention, distance_buckets

OPSET = 20
MICROSOFT = "com.microsoft"
PLAN_ENTRIES = PLAN_BEFORE + 1 + PLAN_AFTER


class GraphBuilder:
    """Collects nodes and weights; every method that adds a node returns its output's name."""

    def __init__(self, adaptable: bool = False) -> None:
        self.adaptable = adaptable
        self.factors: list[onnx.ValueInfoProto] = []
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._count = 0

    def weight(self, name: str, array: NDArray[np.generic]) -> str:
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def factor(self, name: str, shape: list[int]) -> str:
        """An input that may be left out: a matrix with an open side, empty unless it is given."""
        open_shape: list[str | int] = [size or "rank" for size in shape]
        self.factors.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, open_shape))
        return self.weight(name, np.zeros(shape, np.float32))

    def ints(self, *values: int) -> str:
        self._count += 1
        return self.weight(f"ints_{self._count}", np.array(values, np.int64))

    def add(self, op: str, *inputs: str, domain: str = "", outputs: int = 1, **attributes: object) -> str:
        return self.add_many(op, *inputs, domain=domain, outputs=outputs, **attributes)[0]

    def add_many(
        self, op: str, *inputs: str, domain: str = "", outputs: int | list[str] = 1, **attributes: object
    ) -> list[str]:
        self._count += 1
        names = [f"{op}_{self._count}_{i}" for i in range(outputs)] if isinstance(outputs, int) else outputs
        self.nodes.append(
            helper.make_node(op, list(inputs), names, f"{op}_{self._count}", domain=domain, **attributes)
        )
        return names

    def model(
        self, name: str, inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto]
    ) -> onnx.ModelProto:
        graph = helper.make_graph(self.nodes, name, inputs, outputs, self.weights)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10, producer_name="plugin-bridge")


def _array(tensor: Tensor) -> NDArray[np.float32]:
    return tensor.detach().cpu().float().numpy()


def model_graph(network: DuetNetwork, *, adaptable: bool = False) -> onnx.ModelProto:
    """`model.onnx`: inputs `tokens` and `metre` int64 [1, S]; for the context (layer 0) and the window
    (layers above) `*_last` int32 [1] (index of the last key) and `*_total` int32 [] (number of keys with
    the new ones); `past_key_i`, `past_value_i` float32 [1, H, C, K]; `plan_key_i` [1, H, K, 1+P] and
    `plan_value_i` [1, H, 1+P, K] for each chord layer, `plan_mask` [1, 1, 1, 1+P] (0 or very negative).
    Outputs `logits` float32 [1, S, V] and the `present_*` buffers.

    With `adaptable`, every linear layer that an adapter may change has two more inputs, `NAME.lora_A`
    [in, R] and `NAME.lora_B` [R, out], of rank 0 unless they are given: x A B is added to its output.
    """
    config = network.config
    builder = GraphBuilder(adaptable)
    table = _array(network.tokens.table())
    embedded = builder.add("Gather", builder.weight("token_table", table * math.sqrt(config.width)), "tokens")
    x = builder.add(
        "Add", embedded, builder.add("Gather", builder.weight("metre_table", _array(network.metre)), "metre")
    )
    length = builder.add("Gather", builder.add("Shape", "tokens"), builder.ints(1), axis=0)
    distances = {name: _distances(builder, name, length, span) for name, span in _spans(config).items()}
    normed = _norm(builder, "layer0.attention_norm", network.layers[0].attention_norm, x)
    for index, layer in enumerate(network.layers):
        cache = "context" if index == 0 else "window"
        attended = _attention(
            builder, f"layer{index}", layer.attention, normed, length, distances[cache], cache, index, config
        )
        if layer.has_chords:
            x, normed = _skip_norm(builder, f"layer{index}.chord_norm", layer.chord_norm, x, attended)
            attended = _chord_attention(builder, index, layer.chords, normed, config)
        x, normed = _skip_norm(builder, f"layer{index}.feed_norm", layer.feed_norm, x, attended)
        hidden = _linear(builder, f"layer{index}.feed_in", layer.feed_in.weight, normed)
        hidden = builder.add("FastGelu", hidden, domain=MICROSOFT)
        fed = _linear(builder, f"layer{index}.feed_out", layer.feed_out.weight, hidden)
        last = index == len(network.layers) - 1
        following = network.norm if last else network.layers[index + 1].attention_norm
        x, normed = _skip_norm(builder, f"layer{index}.next_norm", following, x, fed)
    logits = builder.add("MatMul", normed, builder.weight("output_table", table.T))
    builder.add_many("Add", logits, builder.weight("output_bias", _array(network.bias)), outputs=["logits"])
    return builder.model("duet", [*_inputs(network), *builder.factors], _outputs(config))


def plan_graph(network: DuetNetwork) -> onnx.ModelProto:
    """`plan.onnx`: `root`, `quality`, `bass` int64 [P] (P = 16 chords, from 4 before now to 11 after) to
    `plan_key_i` float32 [1, H, K, 1+P] and `plan_value_i` [1, H, 1+P, K]. Entry 0 is "no chord"; the
    learned vector of each offset from now is already added to the keys."""
    config = network.config
    heads, width = config.heads, config.head_width
    builder = GraphBuilder()
    vectors = builder.add("Gather", builder.weight("root_table", _array(network.chord_root)), "root")
    for name, parameter in (("quality", network.chord_quality), ("bass", network.chord_bass)):
        vectors = builder.add(
            "Add", vectors, builder.add("Gather", builder.weight(f"{name}_table", _array(parameter)), name)
        )
    outputs = []
    for index, layer in enumerate(network.layers):
        if not layer.has_chords:
            continue
        chords = layer.chords
        pair = builder.add(
            "MatMul", vectors, builder.weight(f"key_value_{index}", _array(chords.key_value.weight).T)
        )
        pair = builder.add("Reshape", pair, builder.ints(PLAN_ENTRIES, 2, heads, width))
        pair = builder.add("Transpose", pair, perm=[1, 2, 0, 3])  # [2, H, P, K]
        key, value = (builder.add("Gather", pair, builder.ints(i), axis=0) for i in (0, 1))  # [1, H, P, K]
        key = builder.add("Add", key, builder.weight(f"offset_{index}", _array(chords.offset)))
        nothing = _array(chords.nothing)[:, None]  # [2, 1, H, 1, K]
        key = builder.add("Concat", builder.weight(f"no_key_{index}", nothing[0]), key, axis=2)
        scaled = builder.add("Mul", key, builder.weight(f"scale_{index}", np.float32(1 / math.sqrt(width))))
        builder.add_many("Transpose", scaled, perm=[0, 1, 3, 2], outputs=[f"plan_key_{index}"])
        no_value = builder.weight(f"no_value_{index}", nothing[1])
        builder.add_many("Concat", no_value, value, axis=2, outputs=[f"plan_value_{index}"])
        outputs += _plan_values(index, config)
    inputs = [
        helper.make_tensor_value_info(n, TensorProto.INT64, [PLAN_ENTRIES])
        for n in ("root", "quality", "bass")
    ]
    return builder.model("plan", inputs, outputs)


def _spans(config: NetworkConfig) -> dict[str, int]:
    return {"context": config.context, "window": config.window}


def _distances(builder: GraphBuilder, cache: str, length: str, span: int) -> str:
    """The distance bucket of each new position and each key, int64 [S, total]."""
    total = builder.add(
        "Cast", builder.add("Reshape", f"{cache}_total", builder.ints(1)), to=TensorProto.INT64
    )
    zero, one = builder.weight(f"{cache}_zero", np.int64(0)), builder.weight(f"{cache}_one", np.int64(1))
    scalar_total = builder.add("Squeeze", total)
    keys = builder.add("Range", zero, scalar_total, one)
    first = builder.add("Sub", scalar_total, builder.add("Squeeze", length))
    queries = builder.add("Unsqueeze", builder.add("Range", first, scalar_total, one), builder.ints(1))
    distance = builder.add("Sub", queries, keys)
    limits = (
        builder.weight(f"{cache}_least", np.int64(0)),
        builder.weight(f"{cache}_most", np.int64(span - 1)),
    )
    buckets = builder.weight(f"{cache}_buckets", distance_buckets(span).numpy())
    return builder.add("Gather", buckets, builder.add("Clip", distance, *limits))


def _attention(
    builder: GraphBuilder, name: str, attention: RelativeAttention, x: str, length: str, buckets: str,
    cache: str, index: int, config: NetworkConfig,
) -> str:  # fmt: skip
    heads, width = config.heads, config.head_width
    scale = 1 / math.sqrt(width)
    qkv = _linear(builder, f"{name}.qkv", attention.qkv.weight, x)
    query = builder.add("Slice", qkv, builder.ints(0), builder.ints(config.width), builder.ints(2))
    query = builder.add("Reshape", query, builder.ints(1, -1, heads, width))
    query = builder.add("Transpose", query, perm=[0, 2, 1, 3])
    vectors = _array(attention.distance).transpose(0, 2, 1) * scale
    relative = builder.add("MatMul", query, builder.weight(f"{name}.distance", vectors))  # [1, H, S, buckets]
    shape = builder.add("Concat", builder.ints(1, heads), builder.add("Shape", buckets), axis=0)
    spread = builder.add("Expand", buckets, shape)
    bias = builder.add("GatherElements", relative, spread, axis=3)
    attended, _, _ = builder.add_many(
        "GroupQueryAttention", qkv, "", "", f"past_key_{index}", f"past_value_{index}", f"{cache}_last",
        f"{cache}_total", "", "", "", bias, domain=MICROSOFT, num_heads=heads, kv_num_heads=heads,
        scale=scale, local_window_size=config.span(index),
        outputs=[f"{name}.attended", f"present_key_{index}", f"present_value_{index}"],
    )  # fmt: skip
    return _linear(builder, f"{name}.out", attention.out.weight, attended)


def _chord_attention(
    builder: GraphBuilder, index: int, chords: ChordAttention, x: str, config: NetworkConfig
) -> str:
    name = f"layer{index}.chords"
    query = _linear(builder, f"{name}.query", chords.query.weight, x)
    query = builder.add("Reshape", query, builder.ints(1, -1, config.heads, config.head_width))
    query = builder.add("Transpose", query, perm=[0, 2, 1, 3])
    scores = builder.add("Add", builder.add("MatMul", query, f"plan_key_{index}"), "plan_mask")
    seen = builder.add("MatMul", builder.add("Softmax", scores, axis=-1), f"plan_value_{index}")
    seen = builder.add("Transpose", seen, perm=[0, 2, 1, 3])
    return _linear(
        builder,
        f"{name}.out",
        chords.out.weight,
        builder.add("Reshape", seen, builder.ints(1, -1, config.width)),
    )


def factor_names(layer: str) -> tuple[str, str]:
    """The inputs of an adaptable graph that change a layer of `DuetNetwork`, like "layers.0.feed_in"."""
    name = layer.removeprefix("layers.").replace("attention.", "", 1)
    return f"layer{name}.lora_A", f"layer{name}.lora_B"


def _linear(builder: GraphBuilder, name: str, weight: Tensor, x: str) -> str:
    """x times a weight [out, in]; in an adaptable graph plus x A B, of rank 0 where nothing is given."""
    product = builder.add("MatMul", x, builder.weight(f"{name}.weight", _array(weight).T))
    if not builder.adaptable:
        return product
    down, up = (
        builder.factor(f"{name}.lora_A", [weight.shape[1], 0]),
        builder.factor(f"{name}.lora_B", [0, weight.shape[0]]),
    )
    return builder.add("Add", product, builder.add("MatMul", builder.add("MatMul", x, down), up))


def _norm_weights(builder: GraphBuilder, name: str, norm: nn.LayerNorm) -> tuple[str, str]:
    return (
        builder.weight(f"{name}.weight", _array(norm.weight)),
        builder.weight(f"{name}.bias", _array(norm.bias)),
    )


def _norm(builder: GraphBuilder, name: str, norm: nn.LayerNorm, x: str) -> str:
    return builder.add("LayerNormalization", x, *_norm_weights(builder, name, norm), epsilon=1e-5)


def _skip_norm(builder: GraphBuilder, name: str, norm: nn.LayerNorm, x: str, branch: str) -> tuple[str, str]:
    """The residual sum and its norm, in one node."""
    weights = _norm_weights(builder, name, norm)
    outputs = [f"{name}.normed", "", "", f"{name}.sum"]
    builder.add_many(
        "SkipLayerNormalization", x, branch, *weights, domain=MICROSOFT, epsilon=1e-5, outputs=outputs
    )
    return f"{name}.sum", f"{name}.normed"


def _plan_values(index: int, config: NetworkConfig) -> list[onnx.ValueInfoProto]:
    heads, width, entries = config.heads, config.head_width, 1 + PLAN_ENTRIES
    return [
        helper.make_tensor_value_info(f"plan_key_{index}", TensorProto.FLOAT, [1, heads, width, entries]),
        helper.make_tensor_value_info(f"plan_value_{index}", TensorProto.FLOAT, [1, heads, entries, width]),
    ]


def _buffers(config: NetworkConfig, which: str) -> list[onnx.ValueInfoProto]:
    values = []
    for index in range(config.layers + 1):
        rows = "context_rows" if index == 0 else "window_rows"
        shape = [1, config.heads, rows, config.head_width]
        for name in ("key", "value"):
            values.append(helper.make_tensor_value_info(f"{which}_{name}_{index}", TensorProto.FLOAT, shape))
    return values


def _inputs(network: DuetNetwork) -> list[onnx.ValueInfoProto]:
    config = network.config
    values = [
        helper.make_tensor_value_info(name, TensorProto.INT64, [1, "length"]) for name in ("tokens", "metre")
    ]
    for cache in ("context", "window"):
        values.append(helper.make_tensor_value_info(f"{cache}_last", TensorProto.INT32, [1]))
        values.append(helper.make_tensor_value_info(f"{cache}_total", TensorProto.INT32, []))
    for index in range(config.layers + 1):
        if index in config.chord_layers:
            values += _plan_values(index, config)
    values.append(helper.make_tensor_value_info("plan_mask", TensorProto.FLOAT, [1, 1, 1, 1 + PLAN_ENTRIES]))
    return values + _buffers(config, "past")


def _outputs(config: NetworkConfig) -> list[onnx.ValueInfoProto]:
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, "length", config.vocabulary_size])
    return [logits, *_buffers(config, "present")]
