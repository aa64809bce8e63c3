"""Imports go one way, and the text of the project stays clean: a test holds the arrows."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ALLOWED = {
    "music": set(),
    "engine": {"music"},
    "ports": {"music"},
    "duet": {"music", "engine", "ports"},
    "daemon": {"music", "engine", "ports", "duet", "fl"},
    "render": {"music", "engine"},
    "fl": {"music", "ports"},
}
SHARED = {"errors", "files", "latest", "_native"}
COMMAND_ONLY = {"cli"}


def _imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def _sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("path", _sources("plugin_bridge"), ids=lambda p: str(p.relative_to(ROOT)))
def test_the_runtime_looks_only_downwards(path: Path) -> None:
    inside = path.relative_to(ROOT / "plugin_bridge").parts
    package = inside[0] if len(inside) > 1 else Path(inside[0]).stem
    for name in _imports(path):
        top, *rest = name.split(".")
        assert top not in ("torch", "model", "export"), f"{path} imports {name}"
        if top == "plugin_bridge" and rest and package in ALLOWED:
            assert rest[0] in ALLOWED[package] | SHARED | {package}, f"{path} imports {name}"


@pytest.mark.parametrize(
    ("folder", "allowed"),
    [
        ("model", {"music", "errors", "files", "engine", "_native"}),
        ("export", {"music", "errors", "files", "engine"}),
    ],
)
def test_training_uses_of_the_runtime_only_its_lower_half(folder: str, allowed: set[str]) -> None:
    for path in _sources(folder):
        for name in _imports(path):
            parts = name.split(".")
            if parts[0] == "plugin_bridge" and len(parts) > 1:
                assert parts[1] in allowed, f"{path} imports {name}"
            assert not (folder == "model" and parts[0] == "export"), f"{path} imports {name}"


def test_no_pickle_no_eval_no_shell() -> None:
    for folder in ("plugin_bridge", "model", "export", "tools"):
        for path in _sources(folder):
            assert "pickle" not in _imports(path), path
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call):
                    name = ast.unparse(node.func)
                    assert name not in ("eval", "exec", "os.system", "torch.load", "os.popen"), (
                        f"{path}: {name}"
                    )
                    for keyword in node.keywords:
                        value = ast.unparse(keyword.value)
                        assert (keyword.arg, value) not in (("shell", "True"), ("allow_pickle", "True")), path


def test_the_two_commands_of_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "python -m pip install . && plugin-bridge demo" in readme
    assert 'python -m pip install -c constraints.txt -e ".[train,dev]" && python -m pytest' in readme


def test_links_in_the_documents_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
