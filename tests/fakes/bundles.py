"""Style bundles of untrained networks: everything about a style but its taste."""

from __future__ import annotations

from pathlib import Path

import torch

from export.bundle import export_bundle
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


def make_bundle(folder: Path, size: str = "tiny", precision: str = "int8", seed: int = 0) -> Style:
    """Export an untrained network into `folder`/bundle and load it."""
    checkpoint = write_untrained_checkpoint(folder / "checkpoint", size, seed)
    export_bundle(checkpoint, folder / "bundle", name="untrained", precision=precision)
    return load_style(folder / "bundle")
