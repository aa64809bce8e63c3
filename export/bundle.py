"""`plugin-bridge export`: a checkpoint to a verified style bundle, with parity measured on the way."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from export.graph import model_graph, plan_graph
from export.quantise import quantise
from model.checkpoint import load_network
from model.config import PLAN_AFTER, PLAN_BEFORE
from model.network import Cache, ChordPlan, DuetNetwork
from plugin_bridge.engine.bundle import DESCRIPTION, FORMAT, MODEL, PLAN, Sizes, file_checksum, load_style
from plugin_bridge.engine.engine import Engine, PlanWindow
from plugin_bridge.engine.sampling import SamplingParameters
from plugin_bridge.errors import BridgeError
from plugin_bridge.music import vocabulary as v
from plugin_bridge.music.chords import QUALITY_NAMES

FP32_LIMIT = 1e-4
"""Largest difference of a logit between the fp32 graph and PyTorch."""

DEFAULT_SAMPLING = SamplingParameters(temperature=1.0, top_k=0, top_p=0.96, min_p=0.0)


@dataclass(frozen=True, slots=True)
class Parity:
    """Largest differences of a logit from PyTorch's full pass, over one stream of tokens: PyTorch step by
    step, the fp32 graph, and the quantised graph; for the last also the mean change of nats a token."""

    torch_steps: float
    onnx_fp32: float
    onnx_quantised: float
    quantised_nats: float


def export_bundle(
    checkpoint: Path,
    output: Path,
    *,
    name: str,
    precision: str = "int8",
    metrics: dict[str, Any] | None = None,
) -> Parity:
    """Write the bundle of a checkpoint to the folder `output`, whole or not at all.

    Raises BridgeError when the checkpoint is damaged, `output` is something else, or the fp32 graph does
    not agree with PyTorch to `FP32_LIMIT`.
    """
    if precision not in ("int8", "fp32"):
        raise BridgeError(f"there is no precision {precision!r}: use int8 or fp32")
    if (
        output.exists()
        and not (output / DESCRIPTION).exists()
        and (output.is_file() or any(output.iterdir()))
    ):
        raise BridgeError(f"{output}: exists and is no style bundle; choose another with -o")
    network, meta = load_network(checkpoint)
    try:
        return _export(network, meta, output, name, precision, metrics or {})
    except OSError as error:
        raise BridgeError(
            f"{output}: cannot be written ({error.strerror}); nothing was left there"
        ) from error


def _export(
    network: DuetNetwork,
    meta: dict[str, Any],
    output: Path,
    name: str,
    precision: str,
    metrics: dict[str, Any],
) -> Parity:
    """Write the bundle next to `output`, measure it, and move it there."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=output.parent) as folder:
        work = Path(folder)
        exact = model_graph(network)
        description = _describe(name, network, meta, metrics)
        _write(work / "exact", exact, plan_graph(network), {**description, "precision": "fp32"})
        _write(work / "small", quantise(exact), plan_graph(network), {**description, "precision": "int8"})
        parity = measure_parity(network, work / "exact", work / "small")
        if not parity.onnx_fp32 <= FP32_LIMIT:
            raise BridgeError(
                f"{output}: the exported graph differs from PyTorch by {parity.onnx_fp32:.2g} on a logit "
                f"(limit {FP32_LIMIT:g}); nothing was written"
            )
        chosen = work / ("small" if precision == "int8" else "exact")
        _rewrite_metrics(chosen, {**metrics, "parity": asdict(parity)})
        load_style(chosen)
        if output.exists():
            shutil.rmtree(output)
        chosen.rename(output)
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
    for which, folder in (("exact", exact), ("quantised", quantised)):
        engine = Engine(load_style(folder))
        engine.set_plan(plan)
        parts = [engine.extend_all(tokens[a:b].tolist(), metre[a:b].tolist()) for a, b in _chunks(length)]
        results[which] = np.concatenate(parts)
    nats = {key: _nats(logits, tokens) for key, logits in {"full": full, **results}.items()}
    return Parity(
        _worst(np.concatenate(steps), full),
        _worst(results["exact"], full),
        _worst(results["quantised"], full),
        abs(nats["quantised"] - nats["full"]),
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


def _describe(
    name: str, network: DuetNetwork, meta: dict[str, Any], metrics: dict[str, Any]
) -> dict[str, Any]:
    config = network.config
    sizes = Sizes(
        parameters=network.parameter_count, layers=config.layers, heads=config.heads,
        head_width=config.head_width, context=config.context, window=config.window,
        chord_layers=config.chord_layers, plan_before=PLAN_BEFORE, plan_after=PLAN_AFTER,
    )  # fmt: skip
    state = meta["state"]
    return {
        "format": FORMAT,
        "name": name,
        "vocabulary": v.fingerprint(),
        "qualities": list(QUALITY_NAMES),
        "sizes": asdict(sizes),
        "network": config.to_json(),
        "sampling": asdict(DEFAULT_SAMPLING),
        "provenance": {
            **meta["provenance"],
            "training": {key: state[key] for key in ("step", "tokens", "seconds")},
        },
        "metrics": metrics,
    }


def _write(folder: Path, model: onnx.ModelProto, plan: onnx.ModelProto, description: dict[str, Any]) -> None:
    folder.mkdir()
    onnx.save(model, folder / MODEL)
    onnx.save(plan, folder / PLAN)
    checksums = {file: file_checksum(folder / file) for file in (MODEL, PLAN)}
    text = json.dumps({**description, "checksums": checksums}, indent=1)
    (folder / DESCRIPTION).write_text(text + "\n", encoding="utf-8")


def _rewrite_metrics(folder: Path, metrics: dict[str, Any]) -> None:
    path = folder / DESCRIPTION
    description = json.loads(path.read_text(encoding="utf-8"))
    description["metrics"] = metrics
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)
