"""What drawing one token costs, in C++, in numpy and in PyTorch where it is installed.

Each does the same on the same logits: grammar mask, temperature, top-k, top-p, draw. numpy and PyTorch
do it as one would write them for speed: top-k first, so that only k values are sorted and exponentiated.
"""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plugin_bridge._native import Sampler
from plugin_bridge.engine.sampling import SamplingParameters
from plugin_bridge.music import vocabulary

PARAMETERS = SamplingParameters(temperature=0.9, top_k=64, top_p=0.95)
ROUNDS = 7
CASES = 64

Draw = Callable[[int], int]


def bench_sampler(draws: int = 20000) -> dict[str, object]:
    """Microseconds a draw, one thread, the call from Python included: medians of interleaved rounds.

    `draws` are made by each candidate over all rounds. Keys: `vocabulary_size`, `draws`, `rounds`,
    `parameters`, `native_us`, `numpy_us`, `numpy_to_native`, and with PyTorch `torch_us`,
    `torch_to_native`. The two ratios say how many times longer than native the other takes.
    """
    logits, masks = _cases(vocabulary.SIZE)
    candidates: dict[str, Draw] = {
        "native": _native_draw(logits, masks),
        "numpy": _numpy_draw(logits, masks),
    }
    if importlib.util.find_spec("torch") is None:
        micros = _interleaved(candidates, max(1, draws // ROUNDS))
    else:
        torch: Any = importlib.import_module("torch")
        candidates["torch"] = _torch_draw(torch, logits, masks)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            micros = _interleaved(candidates, max(1, draws // ROUNDS))
        finally:
            torch.set_num_threads(threads)
    report: dict[str, object] = {
        "vocabulary_size": vocabulary.SIZE,
        "draws": max(1, draws // ROUNDS) * ROUNDS,
        "rounds": ROUNDS,
        "parameters": dict(
            zip(("temperature", "top_k", "top_p", "min_p"), PARAMETERS.arguments, strict=True)
        ),
    }
    for name, value in micros.items():
        report[f"{name}_us"] = round(value, 3)
        if name != "native":
            report[f"{name}_to_native"] = round(value / micros["native"], 1)
    return report


def _interleaved(candidates: dict[str, Draw], draws: int) -> dict[str, float]:
    """Median microseconds a draw of each; they take turns so that a busy machine disturbs all alike."""
    for draw in candidates.values():
        for case in range(min(draws, CASES)):
            draw(case)
    rounds: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(ROUNDS):
        for name, draw in candidates.items():
            start = time.perf_counter()
            for case in range(draws):
                draw(case % CASES)
            rounds[name].append((time.perf_counter() - start) / draws * 1e6)
    return {name: median(times) for name, times in rounds.items()}


def _cases(size: int) -> tuple[list[NDArray[np.float32]], list[NDArray[np.uint8]]]:
    """Logits as spread out as a trained model's, with two tokens in three allowed."""
    rng = np.random.default_rng(0)
    logits = [rng.normal(0, 2.5, size).astype(np.float32) for _ in range(CASES)]
    masks = [(rng.random(size) < 2 / 3).astype(np.uint8) for _ in range(CASES)]
    return logits, masks


def _native_draw(logits: list[NDArray[np.float32]], masks: list[NDArray[np.uint8]]) -> Draw:
    sampler = Sampler(len(logits[0]), 0)
    temperature, top_k, top_p, min_p = PARAMETERS.arguments

    def draw(case: int) -> int:
        return sampler.draw(logits[case], masks[case], None, temperature, top_k, top_p, min_p)

    return draw


def _numpy_draw(logits: list[NDArray[np.float32]], masks: list[NDArray[np.uint8]]) -> Draw:
    rng = np.random.default_rng(0)
    allowed = [mask.view(np.bool_) for mask in masks]
    temperature, top_k, top_p, _ = PARAMETERS.arguments

    def draw(case: int) -> int:
        scores = np.where(allowed[case], logits[case], np.float32(-np.inf))
        best = np.argpartition(scores, -top_k)[-top_k:]
        best = best[np.argsort(scores[best])[::-1]]
        ranked = scores[best]
        cumulative = np.exp((ranked - ranked[0]) / temperature).cumsum()
        last = cumulative.searchsorted(top_p * cumulative[-1])
        return int(best[cumulative.searchsorted(rng.random() * cumulative[last], side="right")])

    return draw


def _torch_draw(torch: Any, logits: list[NDArray[np.float32]], masks: list[NDArray[np.uint8]]) -> Draw:
    tensors = [torch.from_numpy(row) for row in logits]
    forbidden = [torch.from_numpy(row == 0) for row in masks]
    generator = torch.Generator().manual_seed(0)
    temperature, top_k, top_p, _ = PARAMETERS.arguments

    def draw(case: int) -> int:
        with torch.no_grad():
            scores = tensors[case].masked_fill(forbidden[case], float("-inf"))
            ranked, best = scores.topk(top_k)
            probabilities = torch.softmax(ranked.div_(temperature), -1)
            before = probabilities.cumsum(-1).sub_(probabilities)
            probabilities.masked_fill_(before >= top_p, 0.0)
            return int(best[torch.multinomial(probabilities, 1, generator=generator)])

    return draw
