"""`plugin-bridge bench engine`: what a step costs, beside the least it could and beside torch.

`floor_ms` is the time to read, once, the bytes that a step must read (weights and the keys and values in
reach) at the memory bandwidth measured in the same run with the same number of threads: one.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import time
from typing import Any

import numpy as np

from plugin_bridge.engine.bundle import Style
from plugin_bridge.engine.engine import Engine
from plugin_bridge.music import vocabulary as v

_ROUNDS = 400
_BANDWIDTH_BYTES = 256 * 2**20


def bench_engine(style: Style, *, past: int = 1000, long_run: int = 0, threads: int = 1) -> dict[str, Any]:
    """Measure a style's step with `past` tokens in the cache, prefill of 8, 64 and 256 tokens, and, with
    `long_run` tokens, how step time and memory change over a session that long."""
    engine = Engine(style, threads=threads)
    rng = np.random.default_rng(0)
    tokens = rng.integers(v.PART_BASE, v.SIZE, max(past, 256)).tolist()
    metre = [0] * len(tokens)
    engine.extend_all(tokens[:past], metre[:past])
    floor = _floor_seconds(style, past)
    torch_step = _TorchStep(style, tokens[:past]) if importlib.util.find_spec("torch") else None
    ours, theirs = [], []
    for index in range(_ROUNDS):
        ours.append(_timed(lambda at=index: engine.extend(tokens[at % 64 : at % 64 + 1], [0])))
        engine.rewind(past)
        if torch_step is not None and index % 4 == 0:
            theirs.append(_timed(torch_step))
    step = float(np.median(ours[20:]))
    result: dict[str, Any] = {
        "style": style.name,
        "parameters": style.sizes.parameters,
        "precision": style.precision,
        "threads": threads,
        "past": past,
        "step_ms": round(step * 1e3, 4),
        "step_p99_ms": round(float(np.percentile(ours[20:], 99)) * 1e3, 4),
        "floor_ms": round(floor * 1e3, 4),
        "ratio_to_floor": round(step / floor, 2),
    }
    if theirs:
        torch_seconds = float(np.median(theirs[5:]))
        result |= {
            "torch_step_ms": round(torch_seconds * 1e3, 4),
            "ratio_to_torch": round(torch_seconds / step, 2),
        }
    result["prefill_ms"] = {str(count): _prefill_ms(engine, tokens, count) for count in (8, 64, 256)}
    if long_run:
        result["long_run"] = _long_run(Engine(style, threads=threads), tokens, long_run)
    return result


def _timed(call: Any) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _prefill_ms(engine: Engine, tokens: list[int], count: int) -> float:
    times = []
    for _ in range(12):
        length = engine.length
        times.append(_timed(lambda: engine.extend(tokens[:count], [0] * count)))
        if count < 256:
            engine.rewind(length)
    return round(float(np.median(times[2:])) * 1e3, 4)


def _floor_seconds(style: Style, past: int) -> float:
    """The bytes of a step over the bandwidth of reading a block much larger than any cache."""
    sizes = style.sizes
    width = sizes.heads * sizes.head_width * 4
    keys = min(past, sizes.context) + sizes.layers * min(past, sizes.window)
    needed = style.model_path.stat().st_size + 2 * keys * width
    block = np.ones(_BANDWIDTH_BYTES // 8)
    best = min(_timed(block.sum) for _ in range(5))
    return needed * best / _BANDWIDTH_BYTES


class _TorchStep:
    """The same network, eager in torch with its cache, one thread; its weights do not matter to time."""

    def __init__(self, style: Style, tokens: list[int]) -> None:
        torch = self.torch = importlib.import_module("torch")
        network_module = importlib.import_module("model.network")
        config = importlib.import_module("model.config").config_from_json(style.description["network"])
        torch.set_num_threads(1)
        self.network = network_module.DuetNetwork(config).eval()
        self.module = network_module
        self.cache = network_module.Cache()
        with torch.no_grad():
            ids = torch.zeros((1, 16), dtype=torch.int64)
            self.plans = self.network.plans(network_module.ChordPlan(ids, ids, ids, torch.tensor([11])))
            self._step(tokens)
        self.filled = list(self.cache.layers)

    def _step(self, tokens: list[int]) -> None:
        torch = self.torch
        ids = torch.tensor([tokens])
        zeros = torch.zeros_like(ids)
        self.network.step(ids, zeros, self.plans, zeros + 4, self.cache)

    def __call__(self) -> None:
        with self.torch.no_grad():
            self.cache.layers = list(self.filled)
            self._step([v.NOTE_ON_BASE + 60])


def _long_run(engine: Engine, tokens: list[int], count: int) -> dict[str, Any]:
    """Median step time in blocks along a stream of `count` single steps, and the memory in use."""
    block = max(count // 20, 1000)
    rows = []
    times: list[float] = []
    for index in range(count):
        times.append(_timed(lambda at=index: engine.extend(tokens[at % 256 : at % 256 + 1], [0])))
        if len(times) == block:
            rows.append(
                {"tokens": index + 1, "step_ms": round(float(np.median(times)) * 1e3, 4), "rss_mb": rss_mb()}
            )
            times.clear()
    after = [row for row in rows if row["tokens"] > 2000] or rows
    first, last = after[0], after[-1]
    return {
        "tokens": count,
        "step_ratio": round(last["step_ms"] / first["step_ms"], 3),
        "rss_growth_mb": round(last["rss_mb"] - first["rss_mb"], 2),
        "blocks": rows,
    }


def rss_mb() -> float:
    """The memory this process has in use, MB; its peak where the system tells no more."""
    if sys.platform == "linux":
        from pathlib import Path

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return round(pages * 4096 / 1e6, 2)
    if sys.platform == "win32":
        return 0.0
    import resource

    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2)
