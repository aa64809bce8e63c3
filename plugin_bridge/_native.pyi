"""What the runtime computes in C++ (sources in native/)."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

_State: TypeAlias = tuple[int, int, int, int]

class Sampler:
    """Draws tokens under mask, bias, temperature, top-k, top-p and min-p, applied in this order.

    Deterministic for a seed, on every platform; ties go to the lower id. Calls from several threads
    take turns; a sampler a thread is what keeps `last_logprob` meaningful.

    Raises ValueError unless 1 <= vocabulary_size < 2**31; `seed` is an integer 0..2**64 - 1.
    """

    def __init__(self, vocabulary_size: int, seed: int) -> None: ...
    def draw(
        self,
        logits: NDArray[np.float32],
        mask: NDArray[np.uint8],
        bias: NDArray[np.float32] | None,
        temperature: float,
        top_k: int,
        top_p: float,
        min_p: float,
    ) -> int:
        """A token id, never a masked one. Takes one random number; none at temperature 0 (greedy).

        logits, mask (1 where allowed) and bias (added to the logits): C-contiguous [vocabulary_size];
        -inf forbids a token too. top_k 0, top_p 1 and min_p 0 are off.
        Raises ValueError for other shapes or types, NaN, +inf, parameters out of range, and where no
        token is allowed; the random numbers have then not moved.
        """

    def filtered(
        self,
        logits: NDArray[np.float32],
        mask: NDArray[np.uint8],
        bias: NDArray[np.float32] | None,
        temperature: float,
        top_k: int,
        top_p: float,
        min_p: float,
    ) -> NDArray[np.float32]:
        """The probabilities that `draw` would use, float32 [vocabulary_size]. Raises as `draw` does."""

    @property
    def state(self) -> _State:
        """The state of the random numbers (xoshiro256**). Set it to rewind; ValueError if malformed."""

    @state.setter
    def state(self, words: _State) -> None: ...
    @property
    def last_logprob(self) -> float:
        """Natural log of the filtered probability of the token drawn last; NaN before any draw."""

    @property
    def vocabulary_size(self) -> int: ...
