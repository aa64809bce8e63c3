"""Adapters: what peft trains, what is saved, and what the merge makes of it are one thing."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from fakes.bundles import make_bundle, untrained_adapter
from peft import PeftModel
from safetensors.torch import save_file

from model.adapter import TARGETS, AdapterOptions, adapted, attach, load_adapter, merge, save_adapter
from model.base import build_network, load_base, nf4_linear, nf4_round_trip
from model.config import PLAN_AFTER
from model.network import ChordPlan
from plugin_bridge.engine.bundle import WEIGHTS
from plugin_bridge.errors import BridgeError
from plugin_bridge.music import vocabulary as v


def logits(network, seed=0, length=90):
    rng = np.random.default_rng(seed)
    tokens = torch.from_numpy(rng.integers(3, v.SIZE, (1, length)))
    metre = torch.from_numpy(rng.integers(0, 33, (1, length)))
    ids = torch.from_numpy(rng.integers(0, 12, (1, 20)))
    plan = ChordPlan(ids, ids % 5, ids, torch.tensor([PLAN_AFTER]))
    with torch.no_grad():
        return network(tokens, metre, plan, torch.full((1, length), 3))


@pytest.mark.parametrize("quantised", [False, True], ids=["lora", "qlora"])
def test_the_merge_is_what_was_trained(base, quantised):
    adapter = untrained_adapter(base, quantised=quantised)
    trained, merged = adapted(base, adapter), merge(base, adapter)
    difference = (logits(trained) - logits(merged)).abs().max()
    assert difference <= 1e-5
    assert (logits(merged) - logits(build_network(base, quantised=False).eval())).abs().max() > 0.1


def test_in_double_precision_the_merge_is_off_by_no_more_than_its_own_rounding(base):
    """What differs above is the arithmetic of two ways to the same product; here it is taken away."""
    adapter = untrained_adapter(base, quantised=True)
    network = build_network(base, quantised=False)
    for module in network.modules():
        if isinstance(module, torch.nn.Linear):
            module.weight.data = nf4_round_trip(module.weight.data)
    attach(network, adapter.options)
    for name, (down, up, _) in adapter.factors.items():
        module = network.get_submodule(name)
        module.lora_A["default"].weight.data.copy_(down)
        module.lora_B["default"].weight.data.copy_(up)
    exact = logits(network.double().eval())
    assert (exact - logits(merge(base, adapter).double())).abs().max() <= 2e-6


def test_the_exact_merge_needs_the_quantised_weights(base):
    """Added to the weights before quantisation, the change gives another network than the one trained."""
    adapter = untrained_adapter(base, quantised=True)
    careless = merge(base, untrained_adapter(base, quantised=False))
    assert (logits(adapted(base, adapter)) - logits(careless)).abs().max() > 1e-3


def test_a_pass_in_eval_mode_leaves_the_quantised_weights_alone(base):
    network = build_network(base, quantised=True)
    before = [p.clone() for p in network.parameters()]
    first = logits(network.eval())
    network.train()
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
    assert torch.equal(first, logits(network.eval()))


def test_a_quantised_layer_is_the_dequantised_weight():
    weight = torch.randn(96, 64, generator=torch.Generator().manual_seed(1))
    x = torch.randn(3, 64)
    assert torch.equal(nf4_linear(weight)(x), x @ nf4_round_trip(weight).T)
    assert 0.01 < (nf4_round_trip(weight) - weight).abs().mean() < 0.2


def test_only_the_adapter_can_be_trained(base):
    network = build_network(base, quantised=True)
    attach(network, AdapterOptions())
    trainable = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert trainable
    assert all("lora_" in name for name in trainable)
    layers = {name.split(".lora_")[0].split(".", 2)[2] for name in trainable}
    assert layers == set(TARGETS)


def test_an_untrained_adapter_changes_nothing(base):
    network = build_network(base, quantised=False)
    attach(network, AdapterOptions())
    assert torch.equal(logits(network.eval()), logits(build_network(base, quantised=False).eval()))


# files


def test_saved_and_loaded_an_adapter_is_the_same(base, tmp_path):
    adapter = untrained_adapter(base, rank=5, alpha=7.5, targets=("feed_in", "attention.qkv"))
    save_adapter(adapter, tmp_path / "a")
    found = load_adapter(tmp_path / "a", base)
    assert set(found.options.targets) == set(adapter.options.targets)
    assert (found.base, found.quantised, found.options.rank) == (base.fingerprint, True, 5)
    for name, (down, up, scale) in adapter.factors.items():
        assert torch.equal(found.factors[name][0], down)
        assert torch.equal(found.factors[name][1], up)
        assert found.factors[name][2] == pytest.approx(scale)


def test_peft_itself_reads_it(base, tmp_path):
    adapter = untrained_adapter(base, quantised=False)
    save_adapter(adapter, tmp_path / "a")
    network = build_network(base, quantised=False)
    ours = logits(adapted(base, adapter))
    theirs = PeftModel.from_pretrained(network, str(tmp_path / "a")).eval()
    assert torch.allclose(logits(theirs), ours, atol=1e-6)


def test_another_base_is_refused_by_name(base, tmp_path):
    other = load_base(str(make_bundle(tmp_path / "other", seed=9, as_base=True).folder))
    save_adapter(untrained_adapter(other), tmp_path / "a")
    with pytest.raises(BridgeError, match=other.fingerprint[:12]) as raised:
        load_adapter(tmp_path / "a", base)
    assert base.fingerprint[:12] in str(raised.value)
    assert "\n" not in str(raised.value)
    with pytest.raises(BridgeError, match="trained on"):
        merge(base, load_adapter(tmp_path / "a"))


DAMAGE = {
    "missing": lambda f: (f / "adapter_config.json").unlink(),
    "truncated": lambda f: (f / "adapter_model.safetensors").write_bytes(b"\x00" * 9),
    "foreign": lambda f: save_file({"x": torch.zeros(1)}, f / "adapter_model.safetensors"),
    "no json": lambda f: (f / "adapter_config.json").write_text("{"),
    "no rank": lambda f: _without(f, "r"),
    "other rank": lambda f: _with(f, "r", 16),
    "unknown target": lambda f: _with(f, "target_modules", ["lm_head"]),
}


def _with(folder, key, value):
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))


def _without(folder, key):
    path = folder / "adapter_config.json"
    values = json.loads(path.read_text())
    del values[key]
    path.write_text(json.dumps(values))


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_adapter_is_refused_with_one_line(base, tmp_path, damage):
    save_adapter(untrained_adapter(base), tmp_path / "a")
    DAMAGE[damage](tmp_path / "a")
    with pytest.raises(BridgeError) as raised:
        load_adapter(tmp_path / "a", base)
    assert "\n" not in str(raised.value)
    assert str(tmp_path / "a") in str(raised.value) or "targets" in str(raised.value)


def test_a_base_whose_weights_changed_is_refused(tmp_path):
    style = make_bundle(tmp_path, as_base=True)
    path = style.folder / WEIGHTS
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(BridgeError, match=r"weights\.safetensors"):
        load_base(str(style.folder))


def test_a_style_that_keeps_no_weights_is_no_base(style):
    with pytest.raises(BridgeError, match="keeps no weights"):
        load_base(str(style.folder))


@pytest.mark.parametrize(
    "options", [{"rank": 3}, {"rank": 33}, {"dropout": 1.0}, {"targets": ("x",)}, {"alpha": 0}]
)
def test_options_that_cannot_be_are_refused(options):
    with pytest.raises(BridgeError):
        AdapterOptions(**options)
