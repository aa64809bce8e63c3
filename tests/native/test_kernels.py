"""The native kernels against ONNX Runtime on the same 8-bit weights, for every instruction set of this
machine."""

from __future__ import annotations

import json
import threading
import weakref
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugin_bridge import _native
from plugin_bridge.engine.bundle import Style, find_style
from plugin_bridge.engine.engine import MAX_REWIND, SLACK, Engine, PlanWindow
from plugin_bridge.engine.runtimes import NativeRuntime
from plugin_bridge.errors import BridgeError
from plugin_bridge.music import vocabulary as v

KERNELS = _native.network_kernels()
PLAN = PlanWindow(tuple((i % 12, i, (5 * i) % 12) if i % 3 else None for i in range(16)))


def engine_on(kernels: str, style: Style) -> Engine:
    """An engine on one set of kernels, which the program would choose by itself."""
    engine = Engine(style, runtime="native")
    engine._network = NativeRuntime(style, kernels=kernels)
    engine._allocate()
    return engine


def stream(length: int, seed: int = 0) -> tuple[list[int], list[int]]:
    rng = np.random.default_rng(seed)
    return rng.integers(v.PART_BASE, v.SIZE, length).tolist(), rng.integers(0, 33, length).tolist()


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("which", ["style", "base"])
def test_every_instruction_set_says_what_the_graph_says(kernels, which, style):
    chosen = style if which == "style" else find_style("base")
    tokens, metre = stream(1200 if which == "base" else 300)
    graph, native = Engine(chosen, runtime="onnx"), engine_on(kernels, chosen)
    for engine in (graph, native):
        engine.set_plan(PLAN)
    theirs, ours = graph.extend_all(tokens, metre), native.extend_all(tokens, metre)
    scale = np.abs(theirs).max()
    assert np.abs(ours - theirs).max() < 0.01 * scale  # both round activations to 8 bits, in their own order
    assert np.abs(ours - theirs).mean() < 0.001 * scale
    native.set_plan(None)
    graph.set_plan(None)
    assert np.abs(native.extend([60], [0]) - graph.extend([60], [0])).max() < 0.01 * scale


@pytest.mark.parametrize("kernels", KERNELS)
@settings(max_examples=15)
@given(st.lists(st.integers(1, 64), min_size=1, max_size=12), st.integers(0, 3))
def test_how_a_stream_is_cut_into_passes_changes_no_bit(kernels, style, sizes, seed):
    tokens, metre = stream(sum(sizes), seed)
    cut, whole = engine_on(kernels, style), engine_on(kernels, style)
    expected = whole.extend_all(tokens, metre)
    at = 0
    for size in sizes:
        last = cut.extend(tokens[at : at + size], metre[at : at + size])
        at += size
        assert np.array_equal(last, expected[at - 1])


@pytest.mark.parametrize("kernels", KERNELS)
def test_a_slide_of_the_cache_changes_no_bit(kernels, style):
    tokens, metre = stream(3 * (SLACK + MAX_REWIND))
    reach = style.sizes.context + style.sizes.layers * (style.sizes.window - 1)
    long, short = engine_on(kernels, style), engine_on(kernels, style)
    long.extend_all(tokens, metre)
    assert long.oldest_length > 0
    skipped = (len(tokens) - reach) // 16 * 16  # rows are grouped by where they lie in the stream
    short.extend_all(tokens[skipped:], metre[skipped:])
    assert np.array_equal(long.extend([60], [0]), short.extend([60], [0]))


@pytest.mark.parametrize("kernels", KERNELS)
def test_what_was_taken_back_leaves_nothing(kernels, style):
    tokens, metre = stream(200)
    engine, other = engine_on(kernels, style), engine_on(kernels, style)
    engine.extend(tokens[:150], metre[:150])
    engine.extend(tokens[50:114], metre[:64])
    engine.rewind(150)
    other.extend(tokens[:150], metre[:150])
    assert np.array_equal(
        engine.extend_all(tokens[150:], metre[150:]), other.extend_all(tokens[150:], metre[150:])
    )


def test_the_program_plays_the_shipped_style_on_its_own_kernels_where_they_are_fast():
    assert Engine(find_style("base")).runtime.startswith("native" if KERNELS[0] != "generic" else "ONNX")
    assert Engine(find_style("base"), runtime="onnx").runtime == "ONNX Runtime"


def test_a_runtime_can_be_chosen_from_outside(style, monkeypatch):
    monkeypatch.setenv("PLUGIN_BRIDGE_RUNTIME", "onnx")
    assert Engine(style).runtime == "ONNX Runtime"
    monkeypatch.setenv("PLUGIN_BRIDGE_RUNTIME", "cuda")
    with pytest.raises(BridgeError, match="use native or onnx"):
        Engine(style)


def test_a_style_in_another_precision_runs_on_the_graph(exact_style):
    assert Engine(exact_style).runtime == "ONNX Runtime"
    with pytest.raises(BridgeError, match="where its weights lie"):
        Engine(exact_style, runtime="native")


def random_tensors(
    rng: np.random.Generator, sizes: dict[str, int], chords: tuple[int, ...]
) -> dict[str, np.ndarray]:
    """The weights of a network of these sizes, under the graph's names."""
    width, hidden = sizes["heads"] * sizes["head_width"], sizes["hidden"]
    tensors: dict[str, np.ndarray] = {}

    def floats(name: str, *shape: int) -> None:
        tensors[name] = rng.standard_normal(shape).astype(np.float32)

    def matrix(name: str, inputs: int, outputs: int) -> None:
        tensors[f"{name}_Q8"] = rng.integers(0, 256, (outputs, inputs // 32, 32)).astype(np.uint8)
        tensors[f"{name}_scales"] = rng.uniform(0.0005, 0.001, (outputs, inputs // 32)).astype(np.float32)

    floats("token_table", 40, width)
    floats("metre_table", 33, width)
    floats("output_bias", 40)
    matrix("output_table", width, 40)
    for cache in ("context", "window"):
        far = np.arange(sizes[cache])
        tensors[f"{cache}_buckets"] = np.where(far < 20, far, 20 + (far - 20) // 9).astype(np.int64)
    for layer in range(sizes["layers"] + 1):
        name = f"layer{layer}"
        for norm in ("attention_norm", "chord_norm", "feed_norm", "next_norm"):
            floats(f"{name}.{norm}.weight", width)
            floats(f"{name}.{norm}.bias", width)
        matrix(f"{name}.qkv.weight", width, 3 * width)
        matrix(f"{name}.out.weight", width, width)
        if layer in chords:
            matrix(f"{name}.chords.query.weight", width, width)
            matrix(f"{name}.chords.out.weight", width, width)
        matrix(f"{name}.feed_in.weight", width, hidden)
        matrix(f"{name}.feed_out.weight", hidden, width)
        buckets = int(tensors[f"{'window' if layer else 'context'}_buckets"][-1]) + 1
        floats(f"{name}.distance", sizes["heads"], sizes["head_width"], buckets)
    return tensors


@pytest.mark.parametrize(
    ("heads", "head_width", "context", "window", "chords", "entries", "rank"),
    [
        (2, 16, 1, 1, (), 1, 0),
        (1, 32, 5, 1, (0,), 16, 1),
        (2, 48, 33, 17, (1,), 17, 5),
        (2, 64, 100, 33, (0, 1, 2), 32, 8),
        (1, 96, 150, 16, (2,), 2, 0),
        (1, 128, 64, 47, (0, 2), 17, 1100),
    ],
)
def test_all_instruction_sets_agree_on_networks_of_any_size(
    heads, head_width, context, window, chords, entries, rank
):
    rng = np.random.default_rng(head_width)
    sizes = {"heads": heads, "head_width": head_width, "context": context, "window": window, "layers": 2}
    tensors = random_tensors(rng, {**sizes, "hidden": 96}, chords)
    width, rows = heads * head_width, 192

    def normal(*shape: int, scale: float = 1.0) -> np.ndarray:
        return rng.normal(0, scale, shape).astype(np.float32)

    others = {"plan_mask": np.zeros((1, 1, 1, entries), np.float32)}
    for layer in chords:
        others[f"plan_key_{layer}"] = normal(1, heads, head_width, entries)
        others[f"plan_value_{layer}"] = normal(1, heads, entries, head_width)
    if rank:
        others["layer1.feed_in.lora_A"] = normal(width, rank, scale=0.1)
        others["layer1.feed_in.lora_B"] = normal(rank, 96, scale=0.1)
    tokens, metre = rng.integers(0, 40, 180).tolist(), rng.integers(0, 33, 180).tolist()
    results = {}
    for kernels in KERNELS:
        network = _native.Network(
            tensors, **sizes, chord_layers=list(chords), plan_entries=entries, kernels=kernels
        )

        def fresh(network: _native.Network = network) -> _native.NetworkStream:
            caches = {
                f"past_{kind}_{layer}": np.full((1, heads, rows, head_width), np.nan, np.float32)
                for kind in ("key", "value")
                for layer in range(3)
            }
            return _native.NetworkStream(network, {**caches, **others})

        cut, single = fresh(), fresh()
        parts, at = [], 0
        for size in (1, 2, 3, 64, 7, 41, 62):
            parts.append(cut.extend(tokens[at : at + size], metre[at : at + size], at, at, every=True).copy())
            at += size
        steps = [single.extend(tokens[i : i + 1], metre[i : i + 1], i, i).copy() for i in range(180)]
        results[kernels] = np.concatenate(parts)
        assert np.array_equal(results[kernels], np.stack(steps))
    expected = results["generic"]
    assert np.isfinite(expected).all()
    for found in results.values():
        assert np.abs(found - expected).mean() < 0.002 * np.abs(expected).max()


def test_an_adapter_says_what_it_says_on_the_graph(tmp_path):
    from fakes.bundles import make_bundle

    base = make_bundle(tmp_path, seed=5, as_base=True)
    rng = np.random.default_rng(0)
    factors = {}
    for name, tensor in base.tensors().items():
        if name.endswith(".weight_Q8"):
            layer = name.removesuffix(".weight_Q8")
            outputs, blocks, block = tensor.shape
            factors[f"{layer}.lora_A"] = rng.normal(0, 0.1, (blocks * block, 4)).astype(np.float32)
            factors[f"{layer}.lora_B"] = rng.normal(0, 0.1, (4, outputs)).astype(np.float32)
    tokens, metre = stream(200)
    adapted = replace(base, factors=factors)
    theirs, ours, plain = (
        Engine(which, runtime=runtime).extend_all(tokens, metre)
        for which, runtime in ((adapted, "onnx"), (adapted, "native"), (base, "native"))
    )
    scale = np.abs(theirs).max()
    assert np.abs(ours - theirs).max() < 0.02 * scale
    assert np.abs(ours - plain).max() > 0.1 * scale


@pytest.mark.parametrize("kernels", KERNELS)
def test_nothing_of_a_stream_that_went_wrong_is_left_after_a_reset(kernels, style):
    engine, fresh = engine_on(kernels, style), engine_on(kernels, style)
    for band in engine._bands:
        for buffer in band.buffers:
            buffer[:] = np.nan
    engine.reset()
    for token in (1, 60, 61):
        assert np.array_equal(engine.extend([token], [0]), fresh.extend([token], [0]))


def test_a_network_that_the_kernels_cannot_run_plays_on_the_graph(tmp_path):
    from fakes.bundles import make_bundle

    config = {
        "name": "odd", "layers": 1, "width": 48, "heads": 2, "feed_forward": 96, "context": 70, "window": 9,
        "chord_layers": [0],
    }  # fmt: skip
    (tmp_path / "odd.json").write_text(json.dumps(config))
    style = make_bundle(tmp_path, str(tmp_path / "odd.json"))
    engine = Engine(style)
    assert engine.runtime == "ONNX Runtime"
    assert np.isfinite(engine.extend_all(*stream(100))).all()
    assert style.description["metrics"]["parity"]["native"] is None


# what is refused


def described(style: Style, **tensors: object) -> Style:
    return replace(
        style, description={**style.description, "tensors": {**style.description["tensors"], **tensors}}
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"output_bias": ["float32", [395], 10**12]},
        {"output_bias": ["float32", [395], -4]},
        {"output_bias": ["object", [395], 0]},
        {"output_bias": ["float32", [-1], 0]},
        {"output_bias": ["float32", ["x"], 0]},
        {"output_bias": ["float32", [2**62, 2**62], 0]},
        {"output_bias": 7},
        {"output_bias": ["float32", [394], 0]},
        {"output_table_Q8": ["float32", [1], 0]},
        {"context_buckets": ["int64", [64], 0]},
        {"layer0.qkv.weight_Q8": ["uint8", [0, 2, 32], 0]},
        {"token_table": ["float32", [395, 32], 0]},
        {"layer0.distance": ["float32", [2, 32, 0], 0]},
    ],
)
def test_weights_that_cannot_be_are_refused_with_one_line(style, wrong):
    with pytest.raises(BridgeError, match=r"weights|says wrongly") as raised:
        Engine(described(style, **wrong), runtime="native")
    assert "\n" not in str(raised.value)


def test_a_missing_weight_is_named(style):
    tensors = {name: where for name, where in style.description["tensors"].items() if name != "output_bias"}
    with pytest.raises(BridgeError, match="output_bias"):
        Engine(replace(style, description={**style.description, "tensors": tensors}), runtime="native")


@pytest.mark.parametrize(
    "change",
    [
        {"head_width": 20}, {"heads": 1}, {"window": 10**6}, {"context": 63}, {"layers": 9}, {"layers": 1},
        {"chord_layers": (0,)},
    ],
)  # fmt: skip
def test_sizes_that_the_kernels_cannot_work_with_are_refused(style, change):
    with pytest.raises(BridgeError, match=r"cannot be loaded|differ"):
        Engine(replace(style, sizes=replace(style.sizes, **change)), runtime="native")


@pytest.mark.parametrize("change", [{"heads": "4"}, {"heads": -4}, {"layers": 1.5}, {"plan_after": None}])
def test_sizes_that_are_none_are_refused(style, change):
    with pytest.raises(ValueError, match="whole numbers"):
        replace(style.sizes, **change)


@pytest.fixture
def network(style: Style) -> tuple[_native.Network, dict[str, np.ndarray]]:
    sizes = style.sizes
    network = _native.Network(
        style.tensors(), heads=sizes.heads, head_width=sizes.head_width, context=sizes.context,
        window=sizes.window, layers=sizes.layers, chord_layers=list(sizes.chord_layers), plan_entries=17,
    )  # fmt: skip
    heads, width = sizes.heads, sizes.head_width
    arrays = {"plan_mask": np.zeros((1, 1, 1, 17), np.float32)}
    for layer in range(sizes.layers + 1):
        arrays[f"past_key_{layer}"] = np.zeros((1, heads, 160, width), np.float32)
        arrays[f"past_value_{layer}"] = np.zeros((1, heads, 160, width), np.float32)
    for layer in sizes.chord_layers:
        arrays[f"plan_key_{layer}"] = np.zeros((1, heads, width, 17), np.float32)
        arrays[f"plan_value_{layer}"] = np.zeros((1, heads, 17, width), np.float32)
    return network, arrays


@pytest.mark.parametrize(
    ("tokens", "metre", "context", "window"),
    [
        ([], [], 0, 0),
        ([1], [], 0, 0),
        ([1] * 65, [0] * 65, 0, 0),
        ([395], [0], 0, 0),
        ([-1], [0], 0, 0),
        ([1], [33], 0, 0),
        ([1], [-1], 0, 0),
        ([1], [0], 160, 0),
        ([1], [0], 0, 160),
        ([1, 2], [0, 0], 159, 0),
        ([1], [0], 2**63, 0),
        ([1], [0], 2**64 - 1, 2**64 - 1),
    ],
)
def test_a_pass_that_cannot_be_is_refused_and_nothing_is_written(network, tokens, metre, context, window):
    one, arrays = network
    stream = _native.NetworkStream(one, arrays)
    with pytest.raises(ValueError, match=r"token|metrical position|room"):
        stream.extend(tokens, metre, context, window)
    assert not any(array.any() for array in arrays.values())
    assert np.isfinite(stream.extend([1], [0], 0, 0)).all()


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("past_key_0", np.zeros((1, 2, 150, 32), np.float32)),  # 150 rows: no whole groups
        ("past_key_0", np.zeros((1, 2, 160, 32), np.float64)),
        ("past_value_1", np.zeros((1, 2, 144, 32), np.float32)),
        ("past_value_1", np.zeros((1, 2, 320, 32), np.float32)[:, :, ::2]),
        ("plan_mask", np.zeros((1, 1, 1, 16), np.float32)),
        ("plan_key_0", None),
        ("past_key_2", None),
        ("layer0.qkv.lora_A", np.zeros((64, 4), np.float32)),  # without its other half
        ("layer9.qkv.lora_A", np.zeros((64, 4), np.float32)),
    ],
)
def test_arrays_that_do_not_fit_are_refused(network, name, array):
    one, arrays = network
    changed = {key: value for key, value in arrays.items() if key != name}
    if array is not None:
        changed[name] = array
    with pytest.raises(ValueError, match=r"past_|plan_|lora|rows"):
        _native.NetworkStream(one, changed)


def test_read_only_memory_is_refused_as_a_cache(network):
    one, arrays = network
    arrays["past_key_1"].flags.writeable = False
    with pytest.raises(ValueError, match="past_key_1"):
        _native.NetworkStream(one, arrays)


def test_arrays_live_as_long_as_the_stream(network):
    one, arrays = network
    copies = {name: array.copy() for name, array in arrays.items()}
    watched = [weakref.ref(array) for array in copies.values()]
    stream = _native.NetworkStream(one, copies)
    copies.clear()
    assert all(each() is not None for each in watched)
    first = stream.extend([1], [0], 0, 0).copy()
    again = _native.NetworkStream(one, arrays).extend([1], [0], 0, 0)
    assert np.array_equal(first, again)
    del stream
    assert all(each() is None for each in watched)


def test_a_stream_belongs_to_one_thread_at_a_time(network):
    one, arrays = network
    stream = _native.NetworkStream(one, arrays)
    refused: list[RuntimeError] = []

    def play() -> None:
        for _ in range(400):
            try:
                stream.extend([1] * 64, [0] * 64, 0, 0)
            except RuntimeError as error:
                refused.append(error)

    threads = [threading.Thread(target=play) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert refused
    assert "one thread at a time" in str(refused[0])
    assert np.isfinite(stream.extend([1], [0], 0, 0)).all()


def test_there_is_no_stream_without_a_network(network):
    with pytest.raises(TypeError, match="NetworkStream"):
        _native.NetworkStream(None, network[1])


def test_unknown_kernels_are_refused(style):
    with pytest.raises(BridgeError, match="no kernels sse9"):
        NativeRuntime(style, kernels="sse9")
