"""The files of FL Studio's script: what can be told without running them."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from fakes.fl_host import SCRIPT

import plugin_bridge

FILES = sorted(SCRIPT.glob("*.py"))
OF_FL = {"arrangement", "channels", "device", "general", "mixer", "patterns", "transport", "ui"}
OF_PYTHON = {"__future__", "collections.abc", "sys", "time"}


def copier() -> ModuleType:
    spec = importlib.util.spec_from_file_location("copy_fl_link", SCRIPT.parents[1] / "tools/copy_fl_link.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_of_messages_and_the_endpoint_are_the_same_at_both_ends() -> None:
    for path, text in copier().copies().items():
        assert path.read_text(encoding="utf-8") == text, "run python tools/copy_fl_link.py"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_file_is_ascii_and_python_3_9_and_imports_only_what_fl_has(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="ascii"), feature_version=(3, 9))
    siblings = {file.stem for file in FILES}
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert set(names) <= siblings | OF_FL | OF_PYTHON


def test_no_annotation_is_evaluated_that_python_3_9_does_not_know() -> None:
    for path in FILES:
        source = path.read_text(encoding="ascii")
        assert " | None" not in source or "from __future__ import annotations" in source, path


def test_the_entry_is_called_as_fl_wants_it() -> None:
    lines = (SCRIPT / "device_PluginBridge.py").read_text(encoding="ascii").splitlines()
    assert lines[0] == f"# name={SCRIPT.name}"
    assert lines[1].startswith("# url=https://forum.image-line.com/")
    assert lines[2].startswith("# supportedDevices=Plugin Bridge Out")


def test_the_script_has_the_version_of_the_program() -> None:
    assert f'\nVERSION = "{plugin_bridge.__version__}"' in (SCRIPT / "bridge_script.py").read_text()
