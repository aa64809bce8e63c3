"""What the runtime computes in C++ (sources in native/)."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

_State: TypeAlias = tuple[int, int, int, int]

def add_voice(
    out: NDArray[np.float32],
    at: int,
    count: int,
    points: NDArray[np.int16],
    loop: tuple[int, int],
    table: NDArray[np.float32],
    step: float,
    envelope: tuple[float, float, float, float, float, float],
    held: float,
    cutoff: float,
    gains: tuple[float, float],
) -> None:
    """Add the first `count` samples of a voice to `out`, [2, samples], from sample `at` on.

    `points` are read every `step` points, from `loop`'s end on at its start (equal: no loop; silence follows
    the points). `table` [rows, taps] interpolates: row r is for a position r / (rows - 1) of the way from
    point taps / 2 - 1 to the next. `envelope` is delay, attack, hold, decay, sustain and release as in
    SoundFont 2: in samples, but sustain in dB below full, decay and release for 100 dB; the key is `held`
    for so many samples. `cutoff` is that of two one-pole low-passes, as a fraction of the sample rate; from
    0.5 on there are none. `gains` are those of left and right. All arrays are C-contiguous.

    Raises ValueError for shapes that do not fit, a voice that reaches past `out`, a loop outside the points,
    and numbers out of range; TypeError for arrays of other types.
    """

def interpolated_peaks(audio: NDArray[np.float32], table: NDArray[np.float32]) -> NDArray[np.float32]:
    """For each sample the largest magnitude, over all channels, of it and of what lies before the next: [n].

    `audio` is [channels, n]; `table` [phases, taps] interpolates, with row p the point
    sum_j table[p, j] * audio[:, sample + 1 - taps / 2 + j]. Both are C-contiguous. Raises ValueError for
    other shapes and taps that are no multiple of 4, TypeError for other types.
    """

MOST_TOKENS: int
"""Tokens in one pass of the network at most."""
CACHE_ROWS: int
"""The rows of a cache are a multiple of this."""

def network_kernels() -> list[str]:
    """The network's kernels that this processor runs, the fastest first; "generic" runs anywhere."""

class Network:
    """The network with its 8-bit weights, packed for one set of kernels; many streams share it.

    `tensors`: the exported graph's weights under their names there. `heads`, `head_width` (16, 32, 48, 64, 96
    or 128), `context` and `window` in keys, `layers` above layer 0, and `plan_entries` with "no chord".

    Raises ValueError for weights that are missing or of another type or shape, sizes that the kernels cannot
    work with, and kernels that this processor does not run.
    """

    def __init__(
        self,
        tensors: dict[str, NDArray[Any]],
        *,
        heads: int,
        head_width: int,
        context: int,
        window: int,
        layers: int,
        chord_layers: Sequence[int],
        plan_entries: int,
        kernels: str | None = None,
    ) -> None: ...
    @property
    def kernels(self) -> str: ...

class NetworkStream:
    """One stream on a network; the caller's arrays are its cache, its plan and its adapter.

    `arrays`, C-contiguous float32: `past_key_I` and `past_value_I` [1, heads, rows, head_width] with rows a
    multiple of 16, `plan_key_I` [1, heads, head_width, plan_entries] and `plan_value_I` [1, heads,
    plan_entries, head_width] for layers with chords, `plan_mask` [1, 1, 1, plan_entries], and factors
    `layerI.NAME.lora_A` [in, R] and `.lora_B` [R, out].

    Raises ValueError for arrays that are missing or do not fit.
    """

    def __init__(self, network: Network, arrays: dict[str, NDArray[Any]]) -> None: ...
    def extend(
        self,
        tokens: Sequence[int],
        metre: Sequence[int],
        context_used: int,
        window_used: int,
        every: bool = False,
    ) -> NDArray[np.float32]:
        """Append 1 to 64 tokens behind the rows in use. The logits after the last, float32 [V], or with
        `every` after each, [S, V]; the memory is reused by the next call. The interpreter's lock is released.

        Raises ValueError for ids out of range and where the rows do not suffice, RuntimeError while another
        thread is at it.
        """

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
