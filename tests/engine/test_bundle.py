"""A bundle that is damaged, foreign or missing is refused with one line, and nothing of it is run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes.bundles import write_untrained_checkpoint

from export.bundle import export_bundle
from plugin_bridge.engine.bundle import Style, find_style, load_style
from plugin_bridge.engine.engine import Engine
from plugin_bridge.errors import BridgeError


@pytest.fixture
def folder(style: Style, tmp_path: Path) -> Path:
    return Path(shutil.copytree(style.folder, tmp_path / "bundle"))


def _edit(folder: Path, change: Callable[[dict[str, object]], object]) -> None:
    path = folder / "bundle.json"
    description = json.loads(path.read_text())
    change(description)
    path.write_text(json.dumps(description))


def _refused(folder: Path, about: str) -> None:
    with pytest.raises(BridgeError, match=about) as caught:
        Engine(load_style(folder))
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


def test_a_whole_bundle_loads(folder: Path) -> None:
    style = load_style(folder)
    assert style.sizes.parameters > 100_000
    assert style.description["provenance"]["sources"]


def test_truncated_graph(folder: Path) -> None:
    model = folder / "model.onnx"
    model.write_bytes(model.read_bytes()[:-100])
    _refused(folder, "damaged")


def test_graph_that_is_no_graph_but_has_the_right_checksum(folder: Path) -> None:
    from plugin_bridge.engine.bundle import file_checksum

    (folder / "model.onnx").write_bytes(b"not a graph")
    checksum = file_checksum(folder / "model.onnx")
    _edit(folder, lambda d: d["checksums"].update({"model.onnx": checksum}))
    _refused(folder, "where weights lie")
    _edit(folder, lambda d: d.pop("tensors"))
    _refused(folder, "cannot be loaded")


@pytest.mark.parametrize(
    ("key", "value", "about"),
    [
        ("vocabulary", "0123456789abcdef", "another vocabulary"),
        ("format", 99, "another version"),
        ("qualities", ["major"], "chord vocabulary"),
        ("sizes", {}, "incomplete"),
        ("checksums", None, "checksum"),
        ("sampling", {"temperature": -1}, "temperature"),
    ],
)
def test_foreign_descriptions(folder: Path, key: str, value: object, about: str) -> None:
    _edit(folder, lambda d: d.update({key: value}))
    with pytest.raises(BridgeError, match=about):
        load_style(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"text"', "\x00\xff"])
def test_descriptions_that_are_not_even_json(folder: Path, text: str) -> None:
    (folder / "bundle.json").write_text(text)
    with pytest.raises(BridgeError):
        load_style(folder)


def test_missing_files(folder: Path, tmp_path: Path) -> None:
    (folder / "plan.onnx").unlink()
    _refused(folder, "missing")
    with pytest.raises(BridgeError, match=r"no bundle\.json"):
        load_style(tmp_path / "nowhere")
    with pytest.raises(BridgeError, match="there is no style 'no-such-style'"):
        find_style("no-such-style")


def test_export_refuses_to_overwrite_what_is_not_a_bundle(tmp_path: Path) -> None:
    checkpoint = write_untrained_checkpoint(tmp_path / "checkpoint")
    precious = tmp_path / "thesis"
    precious.mkdir()
    (precious / "chapter1.txt").write_text("years of work")
    with pytest.raises(BridgeError, match="no style bundle"):
        export_bundle(checkpoint, precious, name="x")
    assert (precious / "chapter1.txt").read_text() == "years of work"


def test_export_of_a_damaged_checkpoint_leaves_nothing(tmp_path: Path) -> None:
    checkpoint = write_untrained_checkpoint(tmp_path / "checkpoint")
    state = checkpoint / "state.safetensors"
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(BridgeError, match="damaged"):
        export_bundle(checkpoint, tmp_path / "bundle", name="x")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint"]
