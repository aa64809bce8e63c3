"""The native sampler draws what the plain numpy reference says, and what its seed says."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from plugin_bridge._native import Sampler
from plugin_bridge.engine.sampling import SamplingParameters, numpy_draw, numpy_filtered

SIZE = 395
ALL = np.ones(SIZE, np.uint8)
OFF = SamplingParameters(temperature=1.0, top_k=0, top_p=1.0, min_p=0.0)
WORD = 2**64 - 1
PINNED = [278, 111, 333, 390, 393, 346, 27, 40]


def random_case(seed: int, size: int = SIZE, spread: float = 2.5) -> tuple[NDArray, NDArray, NDArray]:
    rng = np.random.default_rng(seed)
    mask = (rng.random(size) < 0.6).astype(np.uint8)
    mask[rng.integers(size)] = 1
    return rng.normal(0, spread, size).astype(np.float32), mask, rng.normal(0, 1, size).astype(np.float32)


def xoshiro(seed: int) -> Iterator[int]:
    """xoshiro256** seeded by splitmix64, after the authors' C code."""
    state = []
    for _ in range(4):
        seed = (seed + 0x9E3779B97F4A7C15) & WORD
        mixed = ((seed ^ (seed >> 30)) * 0xBF58476D1CE4E5B9) & WORD
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & WORD
        state.append(mixed ^ (mixed >> 31))

    def rotate(value: int, bits: int) -> int:
        return ((value << bits) | (value >> (64 - bits))) & WORD

    while True:
        yield (rotate((state[1] * 5) & WORD, 7) * 9) & WORD
        shifted = (state[1] << 17) & WORD
        state[2] ^= state[0]
        state[3] ^= state[1]
        state[1] ^= state[2]
        state[0] ^= state[3]
        state[2] ^= shifted
        state[3] = rotate(state[3], 45)


def on_an_edge(scores: NDArray, parameters: SamplingParameters) -> bool:
    """Whether rounding decides which tokens top-p or min-p keep, so that either answer is right."""
    ranked = np.sort(scores[scores > -np.inf].astype(np.float64))[::-1]
    weights = np.exp((ranked - ranked[0]) / parameters.temperature)
    cumulative = np.cumsum(weights[: parameters.top_k or None])
    near_p = np.abs(cumulative / cumulative[-1] - parameters.top_p) < 1e-5
    near_min = np.abs(weights - parameters.min_p) < 1e-5 * parameters.min_p
    return bool((parameters.top_p < 1 and near_p.any()) or near_min[1:].any())


@st.composite
def cases(draw: st.DrawFn) -> tuple[NDArray, NDArray, NDArray | None, SamplingParameters]:
    size = draw(st.integers(1, 60))
    # Few distinct values at times, so that ties are common.
    value = draw(st.sampled_from([st.floats(-12, 12, width=32), st.integers(-2, 2).map(float)]))
    logits = np.array(draw(st.lists(value, min_size=size, max_size=size)), np.float32)
    mask = np.array(draw(st.lists(st.integers(0, 1), min_size=size, max_size=size)), np.uint8)
    mask[draw(st.integers(0, size - 1))] = 1
    bias = draw(st.none() | st.lists(st.floats(-4, 4, width=32), min_size=size, max_size=size))
    parameters = SamplingParameters(
        temperature=draw(st.sampled_from([0.0, 1.0]) | st.floats(0.05, 5)),
        top_k=draw(st.integers(0, size + 2)),
        top_p=draw(st.just(1.0) | st.floats(0.01, 1)),
        min_p=draw(st.just(0.0) | st.floats(0, 1)),
    )
    return logits, mask, None if bias is None else np.array(bias, np.float32), parameters


@settings(max_examples=400, deadline=None)
@given(cases())
@example((np.zeros(20, np.float32), np.ones(20, np.uint8), None, SamplingParameters(1, 0, 0.5, 0)))
def test_the_filtered_distribution_is_that_of_the_reference(case) -> None:
    logits, mask, bias, parameters = case
    scores = np.where(mask != 0, logits if bias is None else logits + bias, -np.inf)
    if parameters.temperature > 0 and len(set(scores[scores > -np.inf])) > 1:
        assume(not on_an_edge(scores, parameters))
    found = Sampler(len(logits), 0).filtered(logits, mask, bias, *parameters.arguments)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, numpy_filtered(logits, mask, bias, parameters), atol=2e-6)


@pytest.mark.parametrize("spread", [0.0, 0.01, 1.0, 4.0, 20.0])
@pytest.mark.parametrize(
    "filters", [(1, 0, 1, 0), (0.9, 64, 0.95, 0), (1, 0, 0.95, 0), (1.3, 8, 1, 0), (1, 300, 0.5, 0.05)]
)
def test_the_reference_is_met_at_the_size_of_the_vocabulary(spread: float, filters) -> None:
    parameters = SamplingParameters(*filters)
    sampler = Sampler(SIZE, 0)
    for seed in range(20):
        logits, mask, bias = random_case(seed, spread=spread)
        bias *= spread
        found = sampler.filtered(logits, mask, bias, *parameters.arguments)
        np.testing.assert_allclose(found, numpy_filtered(logits, mask, bias, parameters), atol=2e-6)
        assert found.sum() == pytest.approx(1, abs=1e-5)


def test_draws_are_the_tokens_at_the_published_generator_s_numbers() -> None:
    parameters = SamplingParameters(temperature=0.9, top_k=64, top_p=0.95, min_p=0.01)
    sampler, numbers = Sampler(SIZE, 2026), xoshiro(2026)
    for seed in range(300):
        logits, mask, bias = random_case(seed)
        expected = numpy_draw(logits, mask, bias, parameters, next(numbers) / 2**64)
        assert sampler.draw(logits, mask, bias, *parameters.arguments) == expected


def test_a_seed_always_gives_these_tokens() -> None:
    logits = (np.arange(SIZE) * 37 % 101 / 16).astype(np.float32)  # exact in float32 on any machine
    sampler = Sampler(SIZE, 7)
    assert [sampler.draw(logits, ALL, None, 1.0, 0, 0.9, 0.0) for _ in range(8)] == PINNED


def test_frequencies_of_draws_fit_the_distribution() -> None:
    logits, mask, bias = random_case(5, size=24, spread=1.0)
    arguments = (1.1, 12, 0.97, 0.0)
    sampler = Sampler(24, 99)
    expected = sampler.filtered(logits, mask, bias, *arguments)
    draws = 20000
    counts = np.bincount([sampler.draw(logits, mask, bias, *arguments) for _ in range(draws)], minlength=24)
    kept = expected > 0
    assert counts[~kept].sum() == 0
    statistic = ((counts[kept] - draws * expected[kept]) ** 2 / (draws * expected[kept])).sum()
    freedom = int(kept.sum()) - 1
    assert freedom >= 8
    assert statistic < freedom + 3.1 * math.sqrt(2 * freedom) + 3  # about the 99.9th percentile


def test_the_same_seed_gives_the_same_tokens_and_another_seed_others() -> None:
    logits, mask, _ = random_case(1)

    def tokens(seed: int) -> list[int]:
        sampler = Sampler(SIZE, seed)
        return [sampler.draw(logits, mask, None, 1.0, 0, 0.95, 0.0) for _ in range(50)]

    assert tokens(3) == tokens(3)
    assert tokens(3) != tokens(4)


def test_a_restored_state_repeats_the_draws_that_followed_it() -> None:
    logits, mask, _ = random_case(2)
    sampler = Sampler(SIZE, 11)
    sampler.draw(logits, mask, None, 1.0, 0, 1.0, 0.0)
    state = sampler.state
    first = [sampler.draw(logits, mask, None, 1.0, 0, 1.0, 0.0) for _ in range(20)]
    assert sampler.state != state
    sampler.state = state
    assert [sampler.draw(logits, mask, None, 1.0, 0, 1.0, 0.0) for _ in range(20)] == first
    other = Sampler(SIZE, 0)
    other.state = state
    assert [other.draw(logits, mask, None, 1.0, 0, 1.0, 0.0) for _ in range(20)] == first


def test_filtered_takes_no_random_number() -> None:
    logits, mask, _ = random_case(2)
    sampler = Sampler(SIZE, 11)
    state = sampler.state
    sampler.filtered(logits, mask, None, 1.0, 0, 1.0, 0.0)
    assert sampler.state == state


@pytest.mark.parametrize(
    "bad", [(1, 2, 3), (1, 2, 3, 4, 5), (0, 0, 0, 0), (-1, 2, 3, 4), (2**64, 2, 3, 4), ("a", 2, 3, 4)]
)
def test_a_malformed_state_is_refused_and_changes_nothing(bad) -> None:
    sampler = Sampler(SIZE, 1)
    state = sampler.state
    with pytest.raises(ValueError, match="state"):
        sampler.state = bad
    assert sampler.state == state


@pytest.mark.parametrize("temperature", [0.0, 1e-320, 1e-6, 1.0, 1e6, 1e300])
def test_a_masked_token_is_never_drawn(temperature: float) -> None:
    logits = np.full(SIZE, 30, np.float32)
    mask = np.zeros(SIZE, np.uint8)
    mask[[17, 200, 394]] = 1
    logits[mask == 1] = [-40, -41, -40.5]
    sampler = Sampler(SIZE, 5)
    drawn = {sampler.draw(logits, mask, None, temperature, 0, 1.0, 0.0) for _ in range(2000)}
    assert drawn <= {17, 200, 394}
    assert 17 in drawn
    assert (sampler.filtered(logits, mask, None, temperature, 0, 1.0, 0.0)[mask == 0] == 0).all()


def test_minus_infinity_forbids_like_the_mask() -> None:
    logits = np.full(SIZE, -np.inf, np.float32)
    logits[[3, 4]] = 0
    bias = np.zeros(SIZE, np.float32)
    bias[4] = -np.inf
    sampler = Sampler(SIZE, 5)
    assert {sampler.draw(logits, ALL, bias, 1.0, 0, 1.0, 0.0) for _ in range(200)} == {3}


def test_temperature_zero_takes_the_likeliest_and_no_random_number() -> None:
    logits, mask, bias = random_case(8)
    sampler = Sampler(SIZE, 1)
    state = sampler.state
    expected = int(np.argmax(np.where(mask == 1, logits + bias, -np.inf)))
    assert sampler.draw(logits, mask, bias, 0.0, 0, 0.5, 0.5) == expected
    assert sampler.state == state
    assert sampler.last_logprob == 0.0
    assert sampler.filtered(logits, mask, bias, 0.0, 0, 1.0, 0.0)[expected] == 1.0


@pytest.mark.parametrize("filters", [(0.0, 0, 1.0, 0.0), (1.0, 1, 1.0, 0.0), (1.0, 0, 1e-9, 0.0)])
def test_the_lowest_id_wins_a_tie(filters) -> None:
    logits = np.zeros(SIZE, np.float32)
    logits[9] = -0.0  # equals 0, though its bits do not
    mask = ALL.copy()
    mask[:9] = 0
    sampler = Sampler(SIZE, 1)
    assert {sampler.draw(logits, mask, None, *filters) for _ in range(50)} == {9}


def test_ties_at_the_cut_keep_the_lower_ids() -> None:
    logits = np.zeros(10, np.float32)
    logits[7] = 1
    kept = Sampler(10, 0).filtered(logits, np.ones(10, np.uint8), None, 1.0, 4, 1.0, 0.0) > 0
    assert np.flatnonzero(kept).tolist() == [0, 1, 2, 7]


def test_last_logprob_is_that_of_the_drawn_token() -> None:
    logits, mask, bias = random_case(4)
    arguments = (0.8, 40, 0.9, 0.02)
    sampler = Sampler(SIZE, 6)
    assert math.isnan(sampler.last_logprob)
    probabilities = numpy_filtered(logits, mask, bias, SamplingParameters(*arguments))
    for _ in range(50):
        token = sampler.draw(logits, mask, bias, *arguments)
        assert sampler.last_logprob == pytest.approx(math.log(probabilities[token]), abs=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"logits": np.zeros(SIZE - 1, np.float32)}, r"logits .*float32.*\(395,\)"),
        ({"logits": np.zeros((1, SIZE), np.float32)}, "logits"),
        ({"logits": np.zeros(SIZE, np.float64)}, "logits .*float32"),
        ({"logits": np.zeros(2 * SIZE, np.float32)[::2]}, "logits .*C-contiguous"),
        ({"logits": [0.0] * SIZE}, "logits"),
        ({"mask": np.ones(SIZE, np.int64)}, "mask .*uint8"),
        ({"mask": np.ones(SIZE + 1, np.uint8)}, "mask"),
        ({"bias": np.zeros(3, np.float32)}, "bias"),
        ({"mask": np.zeros(SIZE, np.uint8)}, "no token is allowed"),
        ({"logits": np.full(SIZE, -np.inf, np.float32)}, "no token is allowed"),
        ({"logits": np.full(SIZE, np.nan, np.float32)}, "logit of token 0 is NaN"),
        ({"logits": np.full(SIZE, np.inf, np.float32)}, "logit of token 0"),
        ({"bias": np.full(SIZE, np.nan, np.float32)}, "bias of token 0 is NaN"),
        ({"bias": np.full(SIZE, 3e38, np.float32), "logits": np.full(SIZE, 3e38, np.float32)}, "add up"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": math.nan}, "temperature"),
        ({"temperature": math.inf}, "temperature"),
        ({"top_k": -1}, "top_k"),
        ({"top_p": 0.0}, "top_p"),
        ({"top_p": 1.1}, "top_p"),
        ({"top_p": math.nan}, "top_p"),
        ({"min_p": -0.1}, "min_p"),
        ({"min_p": 1.5}, "min_p"),
    ],
)
def test_wrong_input_is_a_value_error_and_takes_no_random_number(change, message: str) -> None:
    arguments = {"logits": np.zeros(SIZE, np.float32), "mask": ALL, "bias": None}
    arguments |= {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0} | change
    sampler = Sampler(SIZE, 1)
    state = sampler.state
    with pytest.raises(ValueError, match=message):
        sampler.draw(**arguments)
    with pytest.raises(ValueError, match=message):
        sampler.filtered(**arguments)
    assert sampler.state == state


def test_a_nan_on_a_masked_token_is_still_refused() -> None:
    logits, mask = np.zeros(SIZE, np.float32), ALL.copy()
    logits[40], mask[40] = np.nan, 0
    with pytest.raises(ValueError, match="token 40"):
        Sampler(SIZE, 1).draw(logits, mask, None, 1.0, 0, 1.0, 0.0)


@pytest.mark.parametrize("size", [0, -1, 2**31])
def test_an_impossible_vocabulary_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="vocabulary_size"):
        Sampler(size, 0)


def test_a_vocabulary_of_one_token_is_drawn_surely() -> None:
    sampler = Sampler(1, 0)
    assert sampler.draw(np.zeros(1, np.float32), np.ones(1, np.uint8), None, 1.0, 1, 0.5, 0.5) == 0
    assert sampler.last_logprob == 0.0


def test_samplers_in_two_threads_draw_as_they_would_alone() -> None:
    logits, mask, bias = random_case(12)
    arguments = (1.0, 50, 0.95, 0.0)

    def tokens(seed: int) -> list[int]:
        sampler = Sampler(SIZE, seed)
        return [sampler.draw(logits, mask, bias, *arguments) for _ in range(3000)]

    found: dict[int, list[int]] = {}
    threads = [threading.Thread(target=lambda s=seed: found.update({s: tokens(s)})) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {1: tokens(1), 2: tokens(2)}


def test_two_threads_on_one_sampler_share_out_its_draws() -> None:
    logits, mask, _ = random_case(13)
    shared, alone = Sampler(SIZE, 4), Sampler(SIZE, 4)
    found: list[int] = []

    def draw_some() -> None:
        for _ in range(2000):
            found.append(shared.draw(logits, mask, None, 1.0, 0, 0.9, 0.0))

    threads = [threading.Thread(target=draw_some) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted(alone.draw(logits, mask, None, 1.0, 0, 0.9, 0.0) for _ in range(4000))
    assert shared.state == alone.state
