"""The engine's cache: stepping, prefill, sliding, rewinding and forking all tell one story."""

from __future__ import annotations

import numpy as np
import pytest
from fakes.bundles import untrained_network

from export.bundle import measure_parity
from plugin_bridge.engine.bundle import Style
from plugin_bridge.engine.engine import MAX_REWIND, Engine, PlanWindow
from plugin_bridge.music import vocabulary as v

LONG = 2500  # far beyond every buffer of the tiny network


def _stream(length: int, seed: int = 0) -> tuple[list[int], list[int]]:
    rng = np.random.default_rng(seed)
    return rng.integers(3, v.SIZE, length).tolist(), rng.integers(0, 33, length).tolist()


def _steps(engine: Engine, tokens: list[int], metre: list[int]) -> np.ndarray:
    return np.stack([engine.extend([t], [m]).copy() for t, m in zip(tokens, metre, strict=True)])


def test_prefill_in_any_chunks_equals_single_steps(exact_style: Style) -> None:
    tokens, metre = _stream(LONG)
    stepped = _steps(Engine(exact_style), tokens, metre)
    engine, rng, at = Engine(exact_style), np.random.default_rng(1), 0
    while at < LONG:
        count = min(int(rng.integers(1, 200)), LONG - at)
        logits = engine.extend_all(tokens[at : at + count], metre[at : at + count])
        np.testing.assert_allclose(logits, stepped[at : at + count], atol=2e-5)
        at += count
    assert engine.length == LONG


def test_rewind_then_continue_equals_never_having_gone_there(exact_style: Style) -> None:
    tokens, metre = _stream(LONG)
    wrong, wrong_metre = _stream(LONG, seed=9)
    straight = _steps(Engine(exact_style), tokens, metre)
    engine, rng = Engine(exact_style), np.random.default_rng(2)
    for at in range(LONG):
        if rng.random() < 0.1:
            detour = int(rng.integers(1, MAX_REWIND + 1))
            engine.extend(wrong[:detour], wrong_metre[:detour])
            engine.rewind(at)
        got = engine.extend(tokens[at : at + 1], metre[at : at + 1])
        np.testing.assert_allclose(got, straight[at], atol=2e-5)


def test_rewind_says_how_far_it_can_go(exact_style: Style) -> None:
    engine = Engine(exact_style)
    tokens, metre = _stream(LONG)
    engine.extend(tokens, metre)
    assert 0 < engine.oldest_length <= LONG - MAX_REWIND
    engine.rewind(engine.oldest_length)
    with pytest.raises(ValueError, match="cannot rewind"):
        engine.rewind(engine.oldest_length - 1)
    with pytest.raises(ValueError, match="cannot rewind"):
        engine.rewind(LONG + 1)


def test_a_fork_goes_its_own_way(exact_style: Style) -> None:
    tokens, metre = _stream(300)
    engine = Engine(exact_style)
    engine.extend(tokens, metre)
    twin = engine.fork()
    twin.extend([10, 11, 12], [0, 0, 0])
    expected = Engine(exact_style)
    expected.extend(tokens, metre)
    np.testing.assert_array_equal(engine.extend([20], [1]), expected.extend([20], [1]))
    assert (engine.length, twin.length) == (301, 303)


def test_the_plan_changes_what_follows_and_only_that(exact_style: Style) -> None:
    chords = PlanWindow(tuple((i % 12, i % 5, i % 12) for i in range(16)))
    engine = Engine(exact_style)
    free = engine.extend([1, 50], [0, 0]).copy()
    engine.reset()
    engine.set_plan(chords)
    planned = engine.extend([1, 50], [0, 0]).copy()
    assert np.abs(free - planned).max() > 1e-4
    engine.reset()
    engine.set_plan(None)
    np.testing.assert_array_equal(engine.extend([1, 50], [0, 0]), free)
    with pytest.raises(ValueError, match="16 entries"):
        engine.set_plan(PlanWindow(((0, 0, 0),)))


def test_parity_of_all_four_stages(exact_style: Style, style: Style) -> None:
    parity = measure_parity(untrained_network(), exact_style.folder, style.folder)
    assert parity.torch_steps < 1e-4
    assert parity.onnx_fp32 < 1e-4
    assert parity.onnx_quantised < 0.1
    assert parity.quantised_nats < 0.01


def test_parity_of_the_shipped_size(tmp_path_factory: pytest.TempPathFactory) -> None:
    from fakes.bundles import make_bundle

    exact = make_bundle(tmp_path_factory.mktemp("exact"), "mini", "fp32")
    small = make_bundle(tmp_path_factory.mktemp("small"), "mini", "int8")
    parity = measure_parity(untrained_network("mini"), exact.folder, small.folder, length=1500)
    assert max(parity.torch_steps, parity.onnx_fp32) < 1e-4
    assert parity.quantised_nats < 0.01


def test_nothing_is_extended_by_nothing(style: Style) -> None:
    engine = Engine(style)
    with pytest.raises(ValueError, match="at least one token"):
        engine.extend([], [])
    with pytest.raises(ValueError, match="metrical position"):
        engine.extend([1, 2], [0])
