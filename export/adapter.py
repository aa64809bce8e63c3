"""An adapter as ONNX Runtime's own adapter file, for the graph of its base."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from export.bundle import MergedAdapter, Parity, write_bundle
from export.graph import factor_names
from model.adapter import Adapter, load_adapter, merge
from model.base import load_base

FILE_VERSION = 1


def merged_adapter(adapter: Adapter) -> MergedAdapter:
    """What a bundle keeps of the adapter merged into it."""
    about = {
        "base": adapter.base, "base_name": adapter.base_name, "quantised": adapter.quantised,
        "rank": adapter.options.rank,
    }  # fmt: skip
    return MergedAdapter(about, lambda path: write_adapter_file(adapter, path))


def export_adapter(base_name: str, folder: Path, output: Path, *, name: str, precision: str) -> Parity:
    """The bundle of an adapter merged into its base; see `export.bundle.export_bundle`."""
    base = load_base(base_name)
    adapter = load_adapter(folder, base)
    return write_bundle(
        merge(base, adapter), output, name=name, provenance=adapter.provenance, precision=precision,
        adapter=merged_adapter(adapter),
    )  # fmt: skip


def write_adapter_file(adapter: Adapter, path: Path) -> None:
    """Write `adapter` to `path` (`.onnx_adapter`): the inputs of the base's graph, scaled already."""
    values = {
        name: onnxruntime.OrtValue.ortvalue_from_numpy(array)
        for name, array in graph_factors(adapter).items()
    }
    file = onnxruntime.AdapterFormat()
    file.set_adapter_version(FILE_VERSION)
    file.set_model_version(FILE_VERSION)
    file.set_parameters(values)
    file.export_adapter(str(path))


def graph_factors(adapter: Adapter) -> dict[str, NDArray[np.float32]]:
    """Input name to A^T float32 [in, rank] or scale B^T [rank, out]: x A^T B^T is added in the graph."""
    arrays: dict[str, NDArray[np.float32]] = {}
    for layer, (down, up, scale) in adapter.factors.items():
        names = factor_names(layer)
        arrays[names[0]] = np.ascontiguousarray(down.numpy().T)
        arrays[names[1]] = np.ascontiguousarray((scale * up).numpy().T)
    return arrays
