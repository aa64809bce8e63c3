"""How tokens are drawn: the parameters, and a plain reference of what `native/sampler.cpp` computes.

The filters, in order: grammar mask, bias, temperature, top-k (Fan et al., 2018), top-p (Holtzman et al.,
2019), min-p (Nguyen et al., 2024). The engine draws with :class:`plugin_bridge._native.Sampler`; the
functions here say what it must give, and tests compare the two.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plugin_bridge.errors import BridgeError


@dataclass(frozen=True, slots=True)
class SamplingParameters:
    """The filters' numbers. Temperature 0 takes the likeliest token; top_k 0, top_p 1, min_p 0 are off.

    Raises BridgeError for a value out of range.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 0.95
    min_p: float = 0.0

    def __post_init__(self) -> None:
        if not (self.temperature >= 0 and math.isfinite(self.temperature)):
            raise BridgeError(
                f"temperature {self.temperature} must be 0 (always the likeliest) or more, such as 1"
            )
        if not 0 <= self.top_k < 2**31 or int(self.top_k) != self.top_k:
            raise BridgeError(f"top-k {self.top_k} must be a whole number, 0 (off) or more")
        if not 0 < self.top_p <= 1:
            raise BridgeError(f"top-p {self.top_p} must be above 0 and at most 1 (off)")
        if not 0 <= self.min_p <= 1:
            raise BridgeError(f"min-p {self.min_p} must be 0 (off) to 1")

    @property
    def arguments(self) -> tuple[float, int, float, float]:
        """What `Sampler.draw` and `Sampler.filtered` take after the bias."""
        return self.temperature, self.top_k, self.top_p, self.min_p


def numpy_filtered(
    logits: NDArray[np.float32],
    mask: NDArray[np.uint8],
    bias: NDArray[np.float32] | None,
    parameters: SamplingParameters,
) -> NDArray[np.float64]:
    """The distribution that a token is drawn from, float64 [V]; 0 for what is filtered out.

    logits, mask (1 where allowed) and bias: [V]. Raises ValueError where no token is allowed.
    """
    scores = np.where(mask != 0, logits if bias is None else logits + bias, -np.inf).astype(np.float64)
    if scores.max() == -np.inf:
        raise ValueError("no token is allowed: the mask or -inf logits forbid all of them")
    order = np.argsort(-scores, kind="stable")  # the likeliest first, the lower id first on a tie
    if parameters.temperature == 0:
        kept = order[:1]
        weights = np.ones(1)
    else:
        ranked = scores[order]
        with np.errstate(over="ignore"):  # a temperature near 0 sends all but the likeliest to -inf
            weights = np.exp((ranked - ranked[0]) / parameters.temperature)
        count = parameters.top_k or len(order)
        cumulative = np.cumsum(weights[:count])
        if parameters.top_p < 1:
            count = int(np.searchsorted(cumulative, parameters.top_p * cumulative[-1])) + 1
        weights = weights[:count]
        weights = weights[weights >= parameters.min_p]
        kept = order[: len(weights)]
    probabilities = np.zeros(len(scores))
    probabilities[kept] = weights / weights.sum()
    return probabilities


def numpy_draw(
    logits: NDArray[np.float32],
    mask: NDArray[np.uint8],
    bias: NDArray[np.float32] | None,
    parameters: SamplingParameters,
    u: float,
) -> int:
    """The token at `u`, a uniform number in [0, 1), when the probabilities lie end to end by id.

    Raises ValueError where no token is allowed.
    """
    probabilities = numpy_filtered(logits, mask, bias, parameters)
    cumulative = np.cumsum(probabilities)
    found = np.searchsorted(cumulative, u * cumulative[-1], side="right")
    return int(min(found, np.flatnonzero(probabilities)[-1]))  # u just below 1 may round up to the end
