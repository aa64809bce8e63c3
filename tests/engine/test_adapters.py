"""Adapters as they run: on the shared base, alone and blended, they are what the merged graph is."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from fakes.bundles import make_bundle, make_style_bundle
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from model.base import load_base
from plugin_bridge.engine import adapters
from plugin_bridge.engine.adapters import blend, choose_style, combine, read_factors
from plugin_bridge.engine.bundle import ADAPTER, DESCRIPTION, file_checksum, load_style
from plugin_bridge.engine.engine import Engine, PlanWindow
from plugin_bridge.errors import BridgeError
from plugin_bridge.music import vocabulary as v

TOKENS = np.random.default_rng(3).integers(3, v.SIZE, 150).tolist()


def logits(engine):
    engine.reset()
    engine.set_plan(PlanWindow(tuple((i % 12, i % 5, i % 12) for i in range(16))))
    return engine.extend_all(TOKENS, [0] * len(TOKENS))


@pytest.fixture(scope="module")
def styles(base, tmp_path_factory):
    """Two styles on `base`, beside each other, trained on it as it is (unquantised)."""
    folder = tmp_path_factory.mktemp("styles")
    made = [
        make_style_bundle(base, folder / name, seed, name, quantised=False) for seed, name in enumerate("ab")
    ]
    (folder / "base").symlink_to(base.style.folder)
    return made


def test_an_adapter_on_the_base_plays_as_its_merged_graph(styles):
    for style in styles:
        merged, shared = logits(Engine(style)), logits(Engine(choose_style(f"{style.folder}=1")))
        assert np.abs(merged - shared).max() < 1e-4


def test_a_base_without_adapters_plays_as_itself(base, styles):
    plain = logits(Engine(base.style))
    assert np.abs(logits(Engine(choose_style(f"{styles[0].folder}=0"))) - plain).max() < 1e-5
    assert np.abs(logits(Engine(styles[0])) - plain).max() > 0.1


def test_a_blend_is_the_sum_of_the_weighted_changes(base, styles):
    """Merged by hand in float64, the same network comes out."""
    weights = (0.7, 0.3)
    blended = blend(list(zip(styles, weights, strict=True)), name="both")
    assert blended.name == "both"
    for layer in {name[:-7] for name in blended.factors}:
        total = sum(
            weight
            * read_factors(style)[f"{layer}.lora_A"].astype(float)
            @ read_factors(style)[f"{layer}.lora_B"]
            for style, weight in zip(styles, weights, strict=True)
        )
        ours = blended.factors[f"{layer}.lora_A"].astype(float) @ blended.factors[f"{layer}.lora_B"]
        assert np.abs(ours - total).max() < 1e-6
    only = logits(Engine(blend([(styles[0], 1.0)], name="a")))
    both = logits(Engine(blend([(styles[0], 1.0), (styles[1], 0.0)], name="a and nothing")))
    assert np.abs(only - both).max() < 1e-4


@given(
    st.lists(
        st.tuples(arrays(np.float32, (3, 2), elements=st.floats(-2, 2, width=32)), st.floats(0, 2)),
        min_size=1,
        max_size=4,
    )
)
def test_combining_is_linear(parts):
    given_parts = [({"x.lora_A": a, "x.lora_B": a.T.copy()}, w) for a, w in parts]
    combined = combine(given_parts)
    expected = sum(w * a.astype(float) @ a.T.astype(float) for a, w in parts)
    assert np.allclose(combined["x.lora_A"].astype(float) @ combined["x.lora_B"], expected, atol=1e-4)


def test_styles_on_one_base_share_its_session(styles):
    first = Engine(choose_style(f"{styles[0].folder}=1"))
    second = first.with_style(choose_style(f"{styles[1].folder}=1"))
    assert second.shares_network(first)
    assert np.abs(logits(second) - logits(Engine(choose_style(f"{styles[1].folder}=1")))).max() == 0
    before = logits(first)
    assert np.array_equal(before, logits(first))
    assert np.abs(before - logits(second)).max() > 0.1
    fork = second.fork()
    assert np.array_equal(fork.extend([5], [0]), second.extend([5], [0]))


# what is refused


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a=x", "not of the form"),
        ("a=-1", "weights from 0"),
        ("a=3", "weights from 0"),
        ("=1", "weights from 0"),
        ("nobody=1", "no style 'nobody'"),
        ("a=nan", "weights from 0"),
        ("base=1", "keeps no adapter"),
    ],
)
def test_a_blend_that_cannot_be_is_refused_with_one_line(text, reason, styles, monkeypatch):
    monkeypatch.setattr(adapters, "find_style", lambda name: _among(name, styles))
    with pytest.raises(BridgeError, match=reason) as raised:
        choose_style(text)
    assert "\n" not in str(raised.value)


def _among(name, styles):
    from plugin_bridge.engine.bundle import find_style

    found = {style.name: style for style in styles}
    return found.get(name) or find_style(name)


def test_styles_of_two_bases_are_not_blended(styles, tmp_path):
    other = load_base(str(make_bundle(tmp_path / "o", precision="fp32", seed=8, as_base=True).folder))
    stranger = make_style_bundle(other, tmp_path / "stranger", name="stranger")
    with pytest.raises(BridgeError, match="different bases"):
        blend([(styles[0], 0.5), (stranger, 0.5)], name="both")


def test_a_style_whose_base_is_not_there_says_which(styles, tmp_path):
    import shutil

    shutil.copytree(styles[0].folder, tmp_path / "alone" / "a")
    with pytest.raises(BridgeError, match=r"'untrained'.*is not installed"):
        choose_style(f"{tmp_path / 'alone' / 'a'}=1")


def test_an_adapter_file_that_changed_is_refused(base, tmp_path):
    style = make_style_bundle(base, tmp_path / "mine")
    path = style.folder / ADAPTER
    path.write_bytes(path.read_bytes()[:-3] + b"abc")
    with pytest.raises(BridgeError, match="damaged or was changed"):
        load_style(style.folder)


@pytest.mark.parametrize("content", [b"", b"nonsense" * 40, None], ids=["empty", "nonsense", "cut"])
def test_an_adapter_file_that_is_none_is_refused(base, tmp_path, content):
    style = make_style_bundle(base, tmp_path / "mine")
    path = style.folder / ADAPTER
    path.write_bytes(path.read_bytes()[:500] if content is None else content)
    text = json.loads((style.folder / DESCRIPTION).read_text())
    text["checksums"][ADAPTER] = file_checksum(path)
    (style.folder / DESCRIPTION).write_text(json.dumps(text))
    with pytest.raises(BridgeError, match="adapter") as raised:
        read_factors(load_style(style.folder))
    assert "\n" not in str(raised.value)


def test_factors_that_do_not_fit_the_graph_are_refused(base):
    wrong = {
        "layer0.qkv.lora_A": np.zeros((7, 2), np.float32),
        "layer0.qkv.lora_B": np.zeros((2, 9), np.float32),
    }
    with pytest.raises(BridgeError, match="does not fit"):
        Engine(replace(base.style, factors=wrong))
