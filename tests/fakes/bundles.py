"""Style bundles of untrained networks: everything about a style but its taste."""

from __future__ import annotations

from pathlib import Path

import torch

from export.adapter import merged_adapter
from export.bundle import export_bundle, write_bundle
from model.adapter import Adapter, AdapterOptions, attach, factors_of, merge
from model.base import Base, build_network
from model.checkpoint import CHECKPOINT_FORMAT, write_checkpoint
from model.config import load_config
from model.network import DuetNetwork
from plugin_bridge.engine.bundle import Style, load_style
from plugin_bridge.music import vocabulary


def untrained_network(size: str = "tiny", seed: int = 0) -> DuetNetwork:
    torch.manual_seed(seed)
    return DuetNetwork(load_config(size)).eval()


def write_untrained_checkpoint(folder: Path, size: str = "tiny", seed: int = 0) -> Path:
    network = untrained_network(size, seed)
    tensors = {f"model.{name}": tensor for name, tensor in network.state_dict().items()}
    meta = {
        "format": CHECKPOINT_FORMAT,
        "vocabulary": vocabulary.fingerprint(),
        "network": network.config.to_json(),
        "provenance": {"sources": {"none": {"pieces": 0, "licence": "CC0"}}},
        "state": {"step": 0, "tokens": 0, "seconds": 0.0},
    }
    write_checkpoint(folder, tensors, meta)
    return folder


def make_bundle(
    folder: Path, size: str = "tiny", precision: str = "int8", seed: int = 0, as_base: bool = False
) -> Style:
    """Export an untrained network into `folder`/bundle and load it."""
    checkpoint = write_untrained_checkpoint(folder / "checkpoint", size, seed)
    export_bundle(checkpoint, folder / "bundle", name="untrained", precision=precision, as_base=as_base)
    return load_style(folder / "bundle")


def untrained_adapter(base: Base, seed: int = 0, *, quantised: bool = True, **options: object) -> Adapter:
    """An adapter with random numbers in it, that changes a lot."""
    chosen = AdapterOptions(**{"rank": 4, "dropout": 0.0, **options})
    torch.manual_seed(seed)
    network = build_network(base, quantised=False)
    attach(network, chosen)
    factors = {
        name: (torch.randn_like(down) * 0.2, torch.randn_like(up) * 0.2, scale)
        for name, (down, up, scale) in factors_of(network, chosen).items()
    }
    return Adapter(base.fingerprint, base.style.name, quantised, chosen, factors, {"sources": {}})


def make_style_bundle(
    base: Base,
    folder: Path,
    seed: int = 0,
    name: str = "mine",
    precision: str = "fp32",
    quantised: bool = True,
) -> Style:
    """The bundle of such an adapter."""
    adapter = untrained_adapter(base, seed, quantised=quantised)
    write_bundle(
        merge(base, adapter), folder, name=name, provenance={"sources": {}}, precision=precision,
        adapter=merged_adapter(adapter),
    )  # fmt: skip
    return load_style(folder)
