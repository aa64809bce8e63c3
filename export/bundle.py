"""`plugin-bridge export`: a checkpoint to a verified style bundle, with parity measured on the way."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import save_file

from export.graph import model_graph, plan_graph
from export.quantise import locate_tensors, quantise
from model.checkpoint import load_network
from model.config import PLAN_AFTER, PLAN_BEFORE
from model.network import Cache, ChordPlan, DuetNetwork
from plugin_bridge.engine.bundle import (
    ADAPTER,
    DESCRIPTION,
    FORMAT,
    MODEL,
    PLAN,
    TENSORS,
    WEIGHTS,
    Sizes,
    file_checksum,
    load_style,
)  # fmt: skip
from plugin_bridge.engine.engine import Engine, PlanWindow
from plugin_bridge.engine.runtimes import NativeRuntime
from plugin_bridge.engine.sampling import SamplingParameters
from plugin_bridge.errors import BridgeError
from plugin_bridge.files import swap_folder
from plugin_bridge.music import vocabulary as v
from plugin_bridge.music.chords import QUALITY_NAMES

FP32_LIMIT = 1e-4
"""Largest difference of a logit between the fp32 graph and PyTorch."""

Measure = Callable[[Path, Path], dict[str, Any]]

DEFAULT_SAMPLING = SamplingParameters(temperature=1.0, top_k=0, top_p=0.96, min_p=0.0)


@dataclass(frozen=True, slots=True)
class MergedAdapter:
    """What a bundle says `about` the adapter in its graph, and how to `write` the adapter's own file."""

    about: dict[str, Any]
    write: Callable[[Path], None]


@dataclass(frozen=True, slots=True)
class Parity:
    """Largest differences of a logit from PyTorch's full pass, over one stream of tokens: PyTorch step by
    step, the fp32 graph, and the 8-bit weights on ONNX Runtime and on the native kernels; for these two also
    the mean change of nats a token (None where the kernels cannot run the network)."""

    torch_steps: float
    onnx_fp32: float
    onnx_quantised: float
    quantised_nats: float
    native: float | None
    native_nats: float | None


def export_bundle(
    checkpoint: Path,
    output: Path,
    *,
    name: str,
    precision: str = "int8",
    as_base: bool = False,
) -> Parity:
    """Write the bundle of a checkpoint to the folder `output`, whole or not at all.

    `as_base`: a base for styles, which keeps its weights (in float16, which its graphs then have too) and
    takes adapters as it runs.

    Raises BridgeError when the checkpoint is damaged, `output` is something else, or the fp32 graph does
    not agree with PyTorch to `FP32_LIMIT`.
    """
    network, meta = load_network(checkpoint)
    state = meta["state"]
    training = {key: state[key] for key in ("step", "tokens", "seconds")}
    provenance = {**meta["provenance"], "training": training}
    return write_bundle(
        network,
        output,
        name=name,
        provenance=provenance,
        precision=precision,
        as_base=as_base,
    )


def write_bundle(
    network: DuetNetwork,
    output: Path,
    *,
    name: str,
    provenance: dict[str, Any],
    precision: str = "int8",
    as_base: bool = False,
    adapter: MergedAdapter | None = None,
    measure: Measure | None = None,
) -> Parity:
    """As `export_bundle`, from a network in memory. `adapter` is the one merged into it; `measure` gets the
    fp32 and the 8-bit bundle and returns metrics to keep."""
    if precision not in ("int8", "fp32"):
        raise BridgeError(f"there is no precision {precision!r}: use int8 or fp32")
    if not as_base:
        check_output(output)
    if as_base:
        network.half().float()
    description = _describe(name, network, provenance)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".export-", dir=output.parent) as folder:
            return _write_next_to(
                Path(folder), network, output, description, precision, as_base, adapter, measure
            )
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BridgeError(f"{output}: cannot be written ({reason}); nothing was left there") from error


def check_output(output: Path) -> None:
    """Raises BridgeError where a style's bundle would replace what is no bundle, or a base."""
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    try:
        description = json.loads((output / DESCRIPTION).read_text(encoding="utf-8"))
        is_base = WEIGHTS in description["checksums"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise BridgeError(f"{output}: exists and is no style bundle; choose another") from error
    if is_base:
        raise BridgeError(f"{output}: is a base, which other styles need; choose another")


def _write_next_to(
    work: Path, network: DuetNetwork, output: Path, description: dict[str, Any], precision: str,
    as_base: bool, adapter: MergedAdapter | None, measure: Measure | None,
) -> Parity:  # fmt: skip
    """Write both precisions into `work`, measure them, and move the chosen one to `output`."""
    exact, plan = model_graph(network, adaptable=as_base), plan_graph(network)
    described: dict[str, dict[str, Any]] = {}
    for which, graph in (("fp32", exact), ("int8", quantise(exact))):
        (work / which).mkdir()
        onnx.save(graph, work / which / MODEL)
        onnx.save(plan, work / which / PLAN)
        described[which] = {**description, "precision": which}
        if which == "int8":
            described[which][TENSORS] = locate_tensors(work / which / MODEL)
        _write_description(work / which, described[which])
    parity = measure_parity(network, work / "fp32", work / "int8")
    if not parity.onnx_fp32 <= FP32_LIMIT:
        raise BridgeError(
            f"{output}: the exported graph differs from PyTorch by {parity.onnx_fp32:.2g} on a logit "
            f"(limit {FP32_LIMIT:g}); nothing was written"
        )
    metrics = {"parity": asdict(parity), **(measure(work / "fp32", work / "int8") if measure else {})}
    chosen = work / precision
    if as_base:
        state = {key: tensor.half().contiguous() for key, tensor in network.state_dict().items()}
        save_file(state, chosen / WEIGHTS)
    result = {**described[precision], "metrics": metrics}
    if adapter is not None:
        adapter.write(chosen / ADAPTER)
        result["adapter"] = adapter.about
    _write_description(chosen, result)
    load_style(chosen)
    swap_folder(chosen, output, work)
    return parity


def set_metrics(bundle: Path, metrics: dict[str, Any]) -> None:
    """Add measured metrics to a bundle's description."""
    style = load_style(bundle)
    _rewrite_metrics(bundle, {**style.description["metrics"], **metrics})


def measure_parity(network: DuetNetwork, exact: Path, quantised: Path, length: int = 600) -> Parity:
    """Run one random, musically shaped stream through every stage, in chunks of several sizes."""
    rng = np.random.default_rng(0)
    tokens = rng.integers(v.PART_BASE, v.SIZE, length)
    tokens[0] = v.BOS
    metre = rng.integers(0, 33, length)
    plan = _random_plan(rng)
    with torch.no_grad():
        arguments = [torch.from_numpy(array[None]) for array in (tokens, metre)]
        columns = torch.tensor([plan.entries]).permute(2, 0, 1)
        chords = ChordPlan(columns[0], columns[1], columns[2], torch.tensor([PLAN_AFTER]))
        pointer = torch.full((1, length), PLAN_BEFORE)
        full = network(*arguments, chords, pointer)[0].numpy()
        cache, steps, plans = Cache(), [], network.plans(chords)
        for start, end in _chunks(length):
            part = [a[:, start:end] for a in arguments]
            steps.append(network.step(part[0], part[1], plans, pointer[:, start:end], cache)[0].numpy())
    results = {}
    for which, folder, runtime in (
        ("exact", exact, "onnx"), ("quantised", quantised, "onnx"), ("native", quantised, "native"),
    ):  # fmt: skip
        style = load_style(folder)
        if runtime == "native" and not NativeRuntime.takes(style):
            continue
        engine = Engine(style, runtime=runtime)
        engine.set_plan(plan)
        parts = [engine.extend_all(tokens[a:b].tolist(), metre[a:b].tolist()) for a, b in _chunks(length)]
        results[which] = np.concatenate(parts)
    nats = {key: _nats(logits, tokens) for key, logits in {"full": full, **results}.items()}
    return Parity(
        _worst(np.concatenate(steps), full),
        _worst(results["exact"], full),
        _worst(results["quantised"], full),
        abs(nats["quantised"] - nats["full"]),
        _worst(results["native"], full) if "native" in results else None,
        abs(nats["native"] - nats["full"]) if "native" in results else None,
    )


def _chunks(length: int) -> list[tuple[int, int]]:
    starts = [0]
    while starts[-1] < length:
        starts.append(min(starts[-1] + (1, 1, 5, 64, 17)[len(starts) % 5], length))
    return list(pairwise(starts))


def _random_plan(rng: np.random.Generator) -> PlanWindow:
    count = PLAN_BEFORE + 1 + PLAN_AFTER
    columns = [rng.integers(0, high, count).tolist() for high in (12, len(QUALITY_NAMES), 12)]
    return PlanWindow(tuple(zip(*columns, strict=True)))


def _worst(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    return float(np.abs(one - other).max())


def _nats(logits: NDArray[np.float32], tokens: NDArray[np.int64]) -> float:
    """Mean nats of each token after the first."""
    wide = logits[:-1].astype(np.float64)
    log_sum = np.log(np.exp(wide - wide.max(1, keepdims=True)).sum(1)) + wide.max(1)
    return float((log_sum - wide[np.arange(len(wide)), tokens[1:]]).mean())


def _describe(name: str, network: DuetNetwork, provenance: dict[str, Any]) -> dict[str, Any]:
    config = network.config
    sizes = Sizes(
        parameters=network.parameter_count, layers=config.layers, heads=config.heads,
        head_width=config.head_width, context=config.context, window=config.window,
        chord_layers=config.chord_layers, plan_before=PLAN_BEFORE, plan_after=PLAN_AFTER,
    )  # fmt: skip
    return {
        "format": FORMAT,
        "name": name,
        "vocabulary": v.fingerprint(),
        "qualities": list(QUALITY_NAMES),
        "sizes": asdict(sizes),
        "network": config.to_json(),
        "sampling": asdict(DEFAULT_SAMPLING),
        "provenance": provenance,
        "metrics": {},
    }


def _write_description(folder: Path, description: dict[str, Any]) -> None:
    """`bundle.json`, with the checksums of the files that are there."""
    checksums = {
        file: file_checksum(folder / file)
        for file in (MODEL, PLAN, WEIGHTS, ADAPTER)
        if (folder / file).exists()
    }
    text = json.dumps({**description, "checksums": checksums}, indent=1)
    (folder / DESCRIPTION).write_text(text + "\n", encoding="utf-8")


def _rewrite_metrics(folder: Path, metrics: dict[str, Any]) -> None:
    path = folder / DESCRIPTION
    description = json.loads(path.read_text(encoding="utf-8"))
    description["metrics"] = metrics
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)
