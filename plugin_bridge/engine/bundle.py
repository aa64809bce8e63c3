"""Style bundles: a folder with `bundle.json`, `model.onnx` and `plan.onnx`, verified before it is used.

Loading runs no code: JSON and ONNX only. Everything is checked (format, vocabulary hash, chord
vocabulary, checksums), and what does not fit is refused with one line that names the folder.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plugin_bridge.engine.sampling import SamplingParameters
from plugin_bridge.errors import BridgeError
from plugin_bridge.music import vocabulary
from plugin_bridge.music.chords import QUALITY_NAMES

FORMAT = 1
MODEL, PLAN, DESCRIPTION = "model.onnx", "plan.onnx", "bundle.json"
ADAPTER = "adapter.onnx_adapter"
"""What a style adds to its base, for use without the merged graph."""
WEIGHTS = "weights.safetensors"
"""What a base keeps beside its graphs, so that styles can be trained on it; its checksum names the base."""
TENSORS = "tensors"
"""Where weights lie in `model.onnx`: name to [type, shape, offset in bytes]."""
TENSOR_TYPES = ("float32", "uint8", "int64")
BUILT_IN = "base"


@dataclass(frozen=True, slots=True)
class Sizes:
    """What the engine must know of the network to lay out its cache."""

    parameters: int
    layers: int
    heads: int
    head_width: int
    context: int
    window: int
    chord_layers: tuple[int, ...]
    plan_before: int
    plan_after: int

    def __post_init__(self) -> None:
        """Raises ValueError for what cannot be."""
        numbers = (self.layers, self.heads, self.head_width, self.context, self.window)
        if not all(type(each) is int and each >= (index > 0) for index, each in enumerate(numbers)):
            raise ValueError("sizes must be whole numbers above 0")
        if not all(type(each) is int and each >= 0 for each in (self.plan_before, self.plan_after)):
            raise ValueError("sizes of the plan must be whole numbers")

    @property
    def plan_entries(self) -> int:
        """Chords in a plan window."""
        return self.plan_before + 1 + self.plan_after


@dataclass(frozen=True, slots=True)
class Style:
    """A verified style bundle. `description` is the whole of `bundle.json`; `factors` are what adapters add
    to its graph, see `plugin_bridge.engine.adapters`."""

    name: str
    folder: Path
    sizes: Sizes
    sampling: SamplingParameters
    description: dict[str, Any]
    factors: Mapping[str, NDArray[np.float32]] = field(default_factory=dict, compare=False)

    @property
    def model_path(self) -> Path:
        return self.folder / MODEL

    @property
    def plan_path(self) -> Path:
        return self.folder / PLAN

    @property
    def base_fingerprint(self) -> str | None:
        """Which base this is, where it is one: it takes adapters, and styles can be trained on it."""
        fingerprint = self.description["checksums"].get(WEIGHTS)
        return None if fingerprint is None else str(fingerprint)

    @property
    def precision(self) -> str:
        return str(self.description["precision"])

    @property
    def tensors_known(self) -> bool:
        """Whether the bundle says where the 8-bit weights lie in its graph."""
        return self.precision == "int8" and TENSORS in self.description

    def tensors(self) -> dict[str, NDArray[Any]]:
        """The graph's weights by name, read from where the bundle says they lie. Raises BridgeError where it
        does not, or wrongly."""
        if not self.tensors_known:
            raise BridgeError(f"{self.folder}: does not say where its weights lie; export the style again")
        try:
            content = self.model_path.read_bytes()
        except OSError as error:
            raise BridgeError(f"{self.model_path}: cannot be read ({error.strerror})") from error
        if hashlib.sha256(content).hexdigest() != self.description["checksums"][MODEL]:
            raise BridgeError(f"{self.model_path}: was changed while it was read; try again")
        found: dict[str, NDArray[Any]] = {}
        try:
            for name, (kind, shape, offset) in self.description[TENSORS].items():
                count = math.prod(shape)
                if kind not in TENSOR_TYPES or offset < 0 or min(shape, default=1) < 0:
                    raise ValueError(name)
                # frombuffer refuses what lies beyond the end; the copy is aligned, which the file is not
                array = np.frombuffer(content, kind, count, offset).copy()
                found[name] = array.reshape(shape)
        except (AttributeError, TypeError, ValueError, OverflowError) as error:
            raise BridgeError(
                f"{self.folder / DESCRIPTION}: says wrongly where weights lie ({error}); "
                "export the style again"
            ) from error
        return found


def file_checksum(path: Path) -> str:
    """SHA-256 of a file, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_style(folder: Path) -> Style:
    """Verify a bundle and describe it. Raises BridgeError with one line when anything is wrong."""
    try:
        description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BridgeError(f"{folder}: is not a style bundle (it has no {DESCRIPTION})") from error
    except (OSError, ValueError) as error:
        raise BridgeError(
            f"{folder / DESCRIPTION}: cannot be read ({error}); export the style again"
        ) from error
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise BridgeError(f"{folder}: a style bundle of another version; export the style again")
    if description.get("vocabulary") != vocabulary.fingerprint():
        raise BridgeError(
            f"{folder}: made for another vocabulary ({description.get('vocabulary')}, this program speaks "
            f"{vocabulary.fingerprint()}); export the style again"
        )
    if description.get("qualities") != list(QUALITY_NAMES):
        raise BridgeError(f"{folder}: made for another chord vocabulary; export the style again")
    for name in (MODEL, PLAN, *([ADAPTER] if "adapter" in description else [])):
        _verify(folder / name, description)
    try:
        sizes = Sizes(**{**description["sizes"], "chord_layers": tuple(description["sizes"]["chord_layers"])})
        sampling = SamplingParameters(**description["sampling"])
        return Style(str(description["name"]), folder, sizes, sampling, description)
    except (KeyError, TypeError, ValueError) as error:
        raise BridgeError(
            f"{folder / DESCRIPTION}: is incomplete ({error}); export the style again"
        ) from error


def _verify(path: Path, description: dict[str, Any]) -> None:
    checksums = description.get("checksums")
    expected = checksums.get(path.name) if isinstance(checksums, dict) else None
    try:
        found = file_checksum(path)
    except OSError as error:
        raise BridgeError(f"{path}: is missing or cannot be read; export the style again") from error
    if found != expected:
        raise BridgeError(f"{path}: is damaged or was changed (its checksum differs); export the style again")


def user_styles() -> Path:
    """The folder that holds the musician's own styles."""
    from platformdirs import user_data_path

    return user_data_path("plugin-bridge", appauthor=False) / "styles"


def built_in_styles() -> Path:
    """The folder of the styles that came with the program."""
    return Path(str(files("plugin_bridge") / "styles"))


def installed_styles() -> Iterator[Path]:
    """The folders of all styles, the built-in ones first."""
    for parent in (built_in_styles(), user_styles()):
        if parent.is_dir():
            found = (path.parent for path in parent.glob(f"*/{DESCRIPTION}"))
            yield from sorted(folder for folder in found if not folder.name.startswith("."))


def find_style(name: str) -> Style:
    """A style by its name, or from the folder `name`. Raises BridgeError that lists what there is."""
    as_path = Path(name)
    if (as_path / DESCRIPTION).is_file():
        return load_style(as_path)
    found = {folder.name: folder for folder in installed_styles()}
    if name not in found:
        if as_path.is_dir():
            raise BridgeError(f"{name}: is not a style bundle (it has no {DESCRIPTION})")
        names = ", ".join(sorted(found)) or "none"
        raise BridgeError(f"there is no style {name!r}; installed: {names}")
    return load_style(found[name])
