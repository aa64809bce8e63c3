"""Checkpoints: one safetensors file (weights, optimiser moments, random state) and one JSON file, in a
folder that appears whole or not at all. No pickle.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from model.config import config_from_json
from model.network import DuetNetwork
from plugin_bridge.errors import BridgeError
from plugin_bridge.music import vocabulary as v

CHECKPOINT_FORMAT = 1


def write_checkpoint(folder: Path, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
    """Write `tensors` and `meta` into a new folder that then takes the name `folder`.

    Killed at any moment, either the old or the new one is there, if need be under the name that `recover`
    looks for.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    recover(folder)
    fresh, old = folder.with_name(folder.name + ".new"), folder.with_name(folder.name + ".old")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        fresh.mkdir()
        save_file(
            {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
            fresh / "state.safetensors",
        )
        (fresh / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
        (fresh / "complete").touch()
    except (OSError, SafetensorError) as error:
        shutil.rmtree(fresh, ignore_errors=True)
        raise BridgeError(
            f"{folder}: the checkpoint could not be written ({error}); the one before it is kept"
        ) from error
    if folder.exists():
        folder.rename(old)
    fresh.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def recover(folder: Path) -> None:
    """Finish what a kill interrupted between the two renames of `write_checkpoint`."""
    fresh, old = folder.with_name(folder.name + ".new"), folder.with_name(folder.name + ".old")
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
    elif (fresh / "complete").exists():
        fresh.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    elif old.exists():
        old.rename(folder)


def read_checkpoint(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and meta data of a checkpoint. Raises BridgeError when it is damaged or foreign."""
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        tensors = load_file(folder / "state.safetensors")
    except FileNotFoundError as error:
        raise BridgeError(f"{folder}: is not a checkpoint (no {Path(str(error.filename)).name})") from error
    except Exception as error:  # safetensors raises a type of its own for damaged files
        raise BridgeError(f"{folder}: the checkpoint is damaged ({error})") from error
    if meta.get("format") != CHECKPOINT_FORMAT or meta.get("vocabulary") != v.fingerprint():
        raise BridgeError(f"{folder}: the checkpoint belongs to another version or vocabulary")
    return tensors, meta


def load_network(folder: Path) -> tuple[DuetNetwork, dict[str, Any]]:
    """The network of a checkpoint, in eval mode, and its meta data."""
    tensors, meta = read_checkpoint(folder)
    network = DuetNetwork(config_from_json(meta["network"]))
    state = {
        name.removeprefix("model."): t.float() for name, t in tensors.items() if name.startswith("model.")
    }
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise BridgeError(f"{folder}: its weights do not fit its network config") from error
    return network.eval(), meta
