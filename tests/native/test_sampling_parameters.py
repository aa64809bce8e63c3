"""Sampling parameters are checked once, and the reference does what the filters' papers say."""

from __future__ import annotations

import math

import numpy as np
import pytest

from plugin_bridge.engine.bench_sampler import bench_sampler
from plugin_bridge.engine.sampling import SamplingParameters, numpy_draw, numpy_filtered
from plugin_bridge.errors import BridgeError
from plugin_bridge.music import vocabulary

LOGITS = np.log(np.array([0.1, 0.4, 0.2, 0.3], np.float32))
MASK = np.ones(4, np.uint8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": -1}, "temperature -1"),
        ({"temperature": math.nan}, "temperature nan"),
        ({"temperature": math.inf}, "temperature inf"),
        ({"top_k": -2}, "top-k -2"),
        ({"top_k": 2.5}, "top-k 2.5"),
        ({"top_p": 0}, "top-p 0"),
        ({"top_p": 1.01}, "top-p 1.01"),
        ({"top_p": math.nan}, "top-p nan"),
        ({"min_p": -0.1}, "min-p -0.1"),
        ({"min_p": 2}, "min-p 2"),
    ],
)
def test_a_value_out_of_range_is_named(change, message: str) -> None:
    with pytest.raises(BridgeError, match=message):
        SamplingParameters(**change)


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        (SamplingParameters(1, 0, 1, 0), [0.1, 0.4, 0.2, 0.3]),
        (SamplingParameters(1, 2, 1, 0), [0, 4 / 7, 0, 3 / 7]),
        (SamplingParameters(1, 0, 0.65, 0), [0, 4 / 7, 0, 3 / 7]),
        (SamplingParameters(1, 0, 0.75, 0), [0, 4 / 9, 2 / 9, 3 / 9]),
        (SamplingParameters(1, 2, 0.55, 0), [0, 1, 0, 0]),  # top-p is of what top-k left
        (SamplingParameters(1, 0, 1, 0.45), [0, 4 / 9, 2 / 9, 3 / 9]),
        (SamplingParameters(0.5, 0, 1, 0), np.array([1, 16, 4, 9]) / 30),
        (SamplingParameters(0, 0, 1, 0), [0, 1, 0, 0]),
    ],
)
def test_each_filter_keeps_what_its_definition_says(parameters: SamplingParameters, expected) -> None:
    np.testing.assert_allclose(numpy_filtered(LOGITS, MASK, None, parameters), expected, atol=1e-6)


def test_a_draw_is_where_u_falls_among_the_probabilities() -> None:
    off = SamplingParameters(1, 0, 1, 0)
    found = [
        numpy_draw(LOGITS, MASK, None, off, u) for u in (0.0, 0.09, 0.11, 0.49, 0.51, 0.69, 0.71, 1 - 2**-53)
    ]
    assert found == [0, 0, 1, 1, 2, 2, 3, 3]


def test_the_bias_is_added_before_the_temperature() -> None:
    bias = np.array([0, 0, np.log(2), 0], np.float32)
    expected = np.array([1, 16, 16, 9]) / 42
    found = numpy_filtered(LOGITS, MASK, bias, SamplingParameters(0.5, 0, 1, 0))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_no_allowed_token_is_an_error() -> None:
    with pytest.raises(ValueError, match="no token is allowed"):
        numpy_filtered(LOGITS, np.zeros(4, np.uint8), None, SamplingParameters())


def test_the_benchmark_reports_each_candidate_and_their_ratios() -> None:
    report = bench_sampler(draws=140)
    assert report["vocabulary_size"] == vocabulary.SIZE
    assert report["draws"] == 140
    for name in ("native_us", "numpy_us", "numpy_to_native"):
        value = report[name]
        assert isinstance(value, float)
        assert value > 0
