"""The base of a style: the weights that its bundle keeps, verified, and quantised as they are read.

A base's bundle holds `weights.safetensors` (float16, the names of `DuetNetwork`) beside its graphs. The
SHA-256 of that file is the base's fingerprint: adapters carry it and fit no other base.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from model.config import NetworkConfig, config_from_json
from model.network import DuetNetwork, TokenEmbedding, distance_buckets
from plugin_bridge.engine.bundle import WEIGHTS, Style, file_checksum, find_style
from plugin_bridge.errors import BridgeError

NF4_BLOCK = 64
"""Weights to one scale (Dettmers et al., QLoRA, 2023); the scales are quantised again, 256 to one."""


@dataclass(frozen=True, slots=True)
class Base:
    """A base that styles can be trained on."""

    style: Style
    fingerprint: str
    config: NetworkConfig

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Name and float32 value of each weight, one at a time."""
        try:
            with safe_open(self.style.folder / WEIGHTS, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118
                    yield name, file.get_tensor(name).float()
        except (OSError, SafetensorError) as error:
            raise BridgeError(f"{self.style.folder / WEIGHTS}: cannot be read ({error})") from error


def load_base(name: str) -> Base:
    """The base of this name or in this folder. Raises BridgeError where it keeps no weights or they were
    changed."""
    style = find_style(name)
    fingerprint = style.base_fingerprint
    if fingerprint is None:
        raise BridgeError(
            f"{style.folder}: keeps no weights to train on; export it with --base, or use --base base"
        )
    if not (style.folder / WEIGHTS).is_file() or file_checksum(style.folder / WEIGHTS) != fingerprint:
        raise BridgeError(
            f"{style.folder / WEIGHTS}: is missing, damaged or was changed; install the base again"
        )
    return Base(style, fingerprint, config_from_json(style.description["network"]))


def build_network(base: Base, *, quantised: bool, dropout: float = 0.0) -> DuetNetwork:
    """The base's network, its weights frozen; with `quantised` every linear layer in NF4.

    Weights are read, and quantised, one by one: the whole base is never in memory in float32.
    """
    with torch.device("meta"):
        network = DuetNetwork(base.config)
    network.tokens = TokenEmbedding(base.config)
    for layer in network.layers:
        layer.attention.buckets = distance_buckets(layer.attention.span)
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = dropout
    missing = dict(network.named_parameters())
    for name, tensor in base.tensors():
        owner, _, leaf = name.rpartition(".")
        module = network.get_submodule(owner)
        expected = missing.pop(name, None)
        if expected is None or expected.shape != tensor.shape:
            raise BridgeError(f"{base.style.folder / WEIGHTS}: its weights do not fit its network")
        if quantised and isinstance(module, nn.Linear):
            network.set_submodule(owner, nf4_linear(tensor))
        else:
            setattr(module, leaf, nn.Parameter(tensor, requires_grad=False))
    if missing:
        raise BridgeError(f"{base.style.folder / WEIGHTS}: lacks {', '.join(sorted(missing)[:3])}")
    return network


def nf4_linear(weight: Tensor) -> nn.Module:
    """A frozen linear layer without bias with its weight [out, in] in NF4, doubly quantised."""
    from bitsandbytes.nn import Linear4bit, Params4bit

    with torch.device("meta"):
        layer = Linear4bit(
            weight.shape[1], weight.shape[0], bias=False, quant_type="nf4", compress_statistics=True
        )
    # bitsandbytes 0.50 would repack the weight in place at the first pass in eval mode on some CPUs, and
    # training cannot go on from that
    layer.support_avx512bf16_for_cpu = False
    layer.weight = Params4bit(
        weight,
        requires_grad=False,
        quant_type="nf4",
        compress_statistics=True,
        blocksize=NF4_BLOCK,
        module=layer,
    ).to("cpu")
    return layer


def nf4_round_trip(weight: Tensor) -> Tensor:
    """What a weight is after NF4: float32 of the same shape."""
    from bitsandbytes import functional

    packed, state = functional.quantize_4bit(
        weight.contiguous(), blocksize=NF4_BLOCK, compress_statistics=True, quant_type="nf4"
    )
    return functional.dequantize_4bit(packed, state).float()
