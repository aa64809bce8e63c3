"""Adapters: low-rank changes of a base's linear layers (LoRA: Hu et al., 2021), in peft's layout.

An adapter is a folder with `adapter_config.json` and `adapter_model.safetensors`. The latter says in its
header which base the adapter was trained on, by fingerprint, and whether that was quantised: the exact
merge adds the change to the weights it was trained against.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from model.base import Base, build_network, nf4_round_trip
from model.network import DuetNetwork
from plugin_bridge.errors import BridgeError
from plugin_bridge.files import atomic_path
from plugin_bridge.music import vocabulary as v

ADAPTER_FORMAT = 1
CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"
TARGETS = ("attention.qkv", "attention.out", "chords.query", "chords.out", "feed_in", "feed_out")
"""The layers that an adapter changes unless told otherwise. The plan's own keys and values stay the base's,
so that all styles share its second graph."""

_PREFIX = "base_model.model."  # peft's names begin so


@dataclass(frozen=True, slots=True)
class AdapterOptions:
    """`rank` 4 to 32; the change is scaled by `alpha` / `rank`; `targets` are ends of layer names."""

    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.1
    targets: tuple[str, ...] = TARGETS

    def __post_init__(self) -> None:
        if not 4 <= self.rank <= 32:
            raise BridgeError(f"rank {self.rank} is not 4 to 32")
        if not 0 < self.alpha <= 1024 or not 0 <= self.dropout < 1:
            raise BridgeError(f"alpha {self.alpha:g} must be above 0, dropout {self.dropout:g} in 0 to 1")
        if not set(self.targets) <= set(TARGETS) or not self.targets:
            raise BridgeError(f"targets must be among {', '.join(TARGETS)}")


@dataclass(frozen=True, slots=True)
class Adapter:
    """A trained adapter. `factors`: layer name to (A float32 [rank, in], B [out, rank], scale): the layer's
    weight changes by scale B A. `quantised`: whether its base was in NF4 when it was trained."""

    base: str
    base_name: str
    quantised: bool
    options: AdapterOptions
    factors: dict[str, tuple[Tensor, Tensor, float]]
    provenance: dict[str, Any]


def attach(network: DuetNetwork, options: AdapterOptions) -> None:
    """Put an untrained adapter (which changes nothing yet) into `network`; only it can be trained then."""
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    network.is_loaded_in_4bit = True  # without it peft takes a quantised layer for a plain one
    inject_adapter_in_model(_peft_config(options), network)


def _peft_config(options: AdapterOptions, base_name: str | None = None) -> LoraConfig:
    return LoraConfig(
        r=options.rank, lora_alpha=options.alpha, lora_dropout=options.dropout, bias="none",
        target_modules=list(options.targets), base_model_name_or_path=base_name,
    )  # fmt: skip


def factors_of(network: DuetNetwork, options: AdapterOptions) -> dict[str, tuple[Tensor, Tensor, float]]:
    """The adapter that stands in `network`; see `Adapter.factors`."""
    found = {}
    for name, module in network.named_modules():
        if hasattr(module, "lora_A") and "default" in module.lora_A:
            down, up = (
                part["default"].weight.detach().cpu().float() for part in (module.lora_A, module.lora_B)
            )
            found[name] = (down.clone(), up.clone(), options.alpha / options.rank)
    return found


def save_adapter(adapter: Adapter, folder: Path) -> None:
    """Write an adapter as peft does; each file appears whole."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for name, (down, up, _) in adapter.factors.items():
        tensors[f"{_PREFIX}{name}.lora_A.weight"] = down.contiguous()
        tensors[f"{_PREFIX}{name}.lora_B.weight"] = up.contiguous()
    about = {
        "format": ADAPTER_FORMAT, "base": adapter.base, "base_name": adapter.base_name,
        "quantised": adapter.quantised, "vocabulary": v.fingerprint(), "provenance": adapter.provenance,
    }  # fmt: skip
    try:
        with atomic_path(folder / TENSORS) as path:
            save_file(tensors, path, metadata={"plugin_bridge": json.dumps(about)})
    except SafetensorError as error:
        raise BridgeError(f"{folder / TENSORS}: could not be written ({error})") from error
    values = _peft_config(adapter.options, f"{adapter.base_name} ({adapter.base})").to_dict()
    values = {key: sorted(value) if isinstance(value, set) else value for key, value in values.items()}
    with atomic_path(folder / CONFIG) as path:
        path.write_text(json.dumps(values, indent=1, default=str) + "\n", encoding="utf-8")


def load_adapter(folder: Path, base: Base | None = None) -> Adapter:
    """Read an adapter. Raises BridgeError when it is damaged, foreign, or was trained on another base than
    `base`."""
    path = folder / TENSORS
    try:
        values = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get("plugin_bridge", "null"))
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise BridgeError(f"{folder}: is not an adapter (it needs {CONFIG} and {TENSORS})") from error
    except (OSError, ValueError, RecursionError, SafetensorError) as error:
        raise BridgeError(f"{folder}: the adapter is damaged ({error}); train the style again") from error
    named = isinstance(about, dict) and all(isinstance(about.get(key), str) for key in ("base", "base_name"))
    if not named or about.get("format") != ADAPTER_FORMAT:
        raise BridgeError(
            f"{path}: was not made by this program or version: it does not say what base it is for"
        )
    if about.get("vocabulary") != v.fingerprint():
        raise BridgeError(f"{path}: made for another vocabulary; train the style again")
    if base is not None and about["base"] != base.fingerprint:
        raise BridgeError(
            f"{folder}: was trained on the base {about['base_name']!r} ({about['base'][:12]}), not on "
            f"{base.style.name!r} ({base.fingerprint[:12]}); give that base with --base, or train again"
        )
    try:
        targets = tuple(sorted(values["target_modules"], key=TARGETS.index))
        options = AdapterOptions(
            int(values["r"]), float(values["lora_alpha"]), float(values["lora_dropout"]), targets
        )
        factors = {}
        for name in sorted(
            key.removesuffix(".lora_A.weight") for key in tensors if key.endswith(".lora_A.weight")
        ):
            down, up = tensors[f"{name}.lora_A.weight"], tensors[f"{name}.lora_B.weight"]
            if down.ndim != 2 or up.ndim != 2 or down.shape[0] != options.rank or up.shape[1] != options.rank:
                raise ValueError(f"{name} is not of rank {options.rank}")
            factors[name.removeprefix(_PREFIX)] = (down, up, options.alpha / options.rank)
        if not factors:
            raise ValueError("it changes nothing")
        return Adapter(
            str(about["base"]), str(about["base_name"]), bool(about["quantised"]), options, factors,
            dict(about["provenance"]),
        )  # fmt: skip
    except (LookupError, TypeError, ValueError) as error:
        raise BridgeError(f"{folder}: the adapter is damaged ({error}); train the style again") from error


def merge(base: Base, adapter: Adapter) -> DuetNetwork:
    """The base with the adapter inside, float32, in eval mode: dequantised NF4 (where it was trained on
    that) plus the change, from weights freshly read."""
    if adapter.base != base.fingerprint:
        raise BridgeError(f"the adapter was trained on {adapter.base_name!r}, not on {base.style.name!r}")
    network = DuetNetwork(base.config)
    state = {}
    for name, tensor in base.tensors():
        owner, _, leaf = name.rpartition(".")
        is_linear = leaf == "weight" and isinstance(network.get_submodule(owner), nn.Linear)
        value = nf4_round_trip(tensor) if adapter.quantised and is_linear else tensor
        if owner in adapter.factors and is_linear:
            down, up, scale = adapter.factors[owner]
            if (up.shape[0], down.shape[1]) != tuple(value.shape):
                raise BridgeError(f"the adapter does not fit {owner} of {base.style.name!r}")
            value = (value.double() + scale * (up.double() @ down.double())).float()
        state[name] = value
    unknown = adapter.factors.keys() - {name.removesuffix(".weight") for name in state}
    if unknown:
        raise BridgeError(f"the adapter changes {min(unknown)}, which {base.style.name!r} does not have")
    network.load_state_dict(state)
    return network.eval()


def adapted(base: Base, adapter: Adapter) -> DuetNetwork:
    """The base as the adapter was trained on it, in NF4 or not, with the adapter beside it, in eval mode."""
    network = build_network(base, quantised=adapter.quantised)
    attach(network, adapter.options)
    with torch.no_grad():
        for name, (down, up, _) in adapter.factors.items():
            module = network.get_submodule(name)
            module.lora_A["default"].weight.copy_(down)
            module.lora_B["default"].weight.copy_(up)
    return network.eval()
