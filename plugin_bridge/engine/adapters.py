"""Styles as adapters on a shared base: many styles for the memory of one, switched and blended as they run.

An adapter file holds two thin matrices for each linear layer it changes. ONNX Runtime's own way to use one
(`RunOptions.add_active_adapter`) has no effect on `run_with_iobinding`, which the shared cache needs; so the
file is read with its reader and the matrices are bound as what they are, inputs of the graph.

A blend adds the changes of several styles, each times its weight. With A side by side and B, weighted, one
below the other, that sum is exact: its rank is the sum of the ranks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from plugin_bridge.engine.bundle import ADAPTER, DESCRIPTION, Style, find_style, installed_styles, load_style
from plugin_bridge.errors import BridgeError

Factors = Mapping[str, NDArray[np.float32]]
"""Input of the graph to matrix: `NAME.lora_A` [in, R] and `NAME.lora_B` [R, out]."""

MAX_WEIGHT = 2.0


def choose_style(text: str) -> Style:
    """The style that a user names: `NAME` or a folder, or a blend, `NAME=WEIGHT,NAME=WEIGHT`.

    `NAME=1` is the style as an adapter on its base rather than as its own, merged graph. Raises BridgeError
    for a name, weight or bundle that cannot be.
    """
    if "=" not in text:
        return find_style(text)
    parts = []
    for part in text.split(","):
        name, _, number = part.rpartition("=")
        try:
            weight = float(number)
        except ValueError as error:
            raise BridgeError(f"{part!r} is not of the form STYLE=WEIGHT") from error
        if not name.strip() or not 0 <= weight <= MAX_WEIGHT:
            raise BridgeError(f"{part!r}: a blend is STYLE=WEIGHT with weights from 0 to {MAX_WEIGHT:g}")
        parts.append((find_style(name.strip()), weight))
    return blend(parts, name=text)


def blend(parts: Sequence[tuple[Style, float]], *, name: str) -> Style:
    """Styles with weights as one style called `name`, on the base that they share."""
    bases = {_adapter_of(style)["base"]: style for style, _ in parts}
    if len(bases) != 1:
        names = " and ".join(repr(style.name) for style in bases.values())
        raise BridgeError(f"{name}: {names} were trained on different bases and cannot be blended")
    fingerprint, first = next(iter(bases.items()))
    base = _find_base(str(fingerprint), first)
    return replace(
        base, name=name, factors=combine([(read_factors(style), weight) for style, weight in parts])
    )


def combine(parts: Sequence[tuple[Factors, float]]) -> Factors:
    """The weighted sum of changes, as factors."""
    layers = sorted(
        {name.removesuffix(".lora_A") for factors, _ in parts for name in factors if name.endswith("_A")}
    )
    combined: dict[str, NDArray[np.float32]] = {}
    for layer in layers:
        names = f"{layer}.lora_A", f"{layer}.lora_B"
        here = [(factors, weight) for factors, weight in parts if names[0] in factors]
        down = np.concatenate([factors[names[0]] for factors, _ in here], axis=1)
        up = np.concatenate([np.float32(weight) * factors[names[1]] for factors, weight in here])
        combined[names[0]], combined[names[1]] = np.ascontiguousarray(down), np.ascontiguousarray(up)
    return combined


def read_factors(style: Style) -> Factors:
    """The adapter in a style's bundle, checked against the sizes it says it has."""
    import onnxruntime

    _adapter_of(style)
    path = style.folder / ADAPTER
    try:
        values = onnxruntime.AdapterFormat.read_adapter(str(path)).get_parameters()
        factors = {name: np.array(value.numpy(), np.float32) for name, value in values.items()}
    except Exception as error:  # the runtime raises types of its own for each kind of damage
        reason = str(error).splitlines()[0][:200]
        raise BridgeError(f"{path}: the adapter cannot be read ({reason}); train the style again") from error
    for name, array in factors.items():
        twin = factors.get(f"{name[:-1]}{'B' if name.endswith('A') else 'A'}")
        if not name.endswith((".lora_A", ".lora_B")) or array.ndim != 2 or twin is None or twin.ndim != 2:
            raise BridgeError(f"{path}: the adapter is damaged ({name}); train the style again")
        if (name.endswith("A") and array.shape[1] != twin.shape[0]) or not np.isfinite(array).all():
            raise BridgeError(f"{path}: the adapter is damaged ({name}); train the style again")
    return factors


def _adapter_of(style: Style) -> Mapping[str, object]:
    about = style.description.get("adapter")
    if not isinstance(about, dict) or not isinstance(about.get("base"), str):
        raise BridgeError(f"{style.name!r} ({style.folder}) keeps no adapter; give it without a weight")
    return about


def _find_base(fingerprint: str, style: Style) -> Style:
    """The installed base that an adapter was trained on; beside the style's folder is looked too."""
    beside = (path.parent for path in sorted(style.folder.parent.glob(f"*/{DESCRIPTION}")))
    for folder in dict.fromkeys([*installed_styles(), *beside]):
        if (found := _base_in(folder)) is not None and found.base_fingerprint == fingerprint:
            return found
    about = _adapter_of(style)
    raise BridgeError(
        f"{style.name!r} needs the base {about.get('base_name')!r} ({fingerprint[:12]}), which is not "
        "installed; give the style without a weight to play its merged graph"
    )


def _base_in(folder: Path) -> Style | None:
    try:
        style = load_style(folder)
    except BridgeError:
        return None
    return style if style.base_fingerprint is not None else None
