"""Sizes of the network, kept as JSON files in `model/configs`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from plugin_bridge.errors import BridgeError
from plugin_bridge.music import vocabulary
from plugin_bridge.music.chords import QUALITY_NAMES
from plugin_bridge.music.rhythm import METRE_SIZE

PLAN_BEFORE, PLAN_AFTER = 4, 11
"""How many chords before and after the one that sounds now a token can see: a plan of 16 entries."""


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """`layers` deep layers over a window of `window` keys above layer 0 over `context` keys (both count
    the position itself); `chord_layers` are the layers (0 to `layers`) that attend to the chord plan."""

    name: str
    layers: int
    width: int
    heads: int
    feed_forward: int
    context: int
    window: int
    chord_layers: tuple[int, ...]
    dropout: float = 0.1
    vocabulary_size: int = vocabulary.SIZE
    metre_size: int = METRE_SIZE
    qualities: int = len(QUALITY_NAMES) + 1

    def __post_init__(self) -> None:
        sizes = (self.width, self.heads, self.feed_forward, self.window, self.vocabulary_size)
        if (
            min(sizes) < 1
            or self.layers < 0
            or self.width % self.heads
            or self.window > self.context
            or not all(0 <= layer <= self.layers for layer in self.chord_layers)
        ):
            raise BridgeError(f"network config {self.name!r} does not fit together: {asdict(self)}")

    @property
    def head_width(self) -> int:
        return self.width // self.heads

    def span(self, layer: int) -> int:
        """How many keys `layer` attends to, the position itself included."""
        return self.context if layer == 0 else self.window

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def config_from_json(values: dict[str, Any]) -> NetworkConfig:
    """A config from its JSON object. Raises BridgeError for unknown or missing fields."""
    try:
        return NetworkConfig(**{**values, "chord_layers": tuple(values["chord_layers"])})
    except (TypeError, KeyError) as error:
        raise BridgeError(f"network config does not fit this version: {error}") from error


def load_config(name_or_path: str) -> NetworkConfig:
    """A config by its name (`tiny`, `mini`, `small`, `medium`, `large`) or from a JSON file."""
    path = Path(name_or_path)
    if path.suffix == ".json":
        if not path.is_file():
            raise BridgeError(f"{path}: there is no such network config")
        text = path.read_text(encoding="utf-8", errors="replace")
    else:
        resource = files("model") / "configs" / f"{name_or_path}.json"
        if not resource.is_file():
            raise BridgeError(
                f"there is no network size {name_or_path!r}: use tiny, mini, small, medium or large"
            )
        text = resource.read_text(encoding="utf-8")
    try:
        return config_from_json(json.loads(text))
    except json.JSONDecodeError as error:
        raise BridgeError(f"{name_or_path}: not JSON ({error})") from error
