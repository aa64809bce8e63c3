"""`config show`, `check` and `edit`, as they are typed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from plugin_bridge.daemon.config import Config, parse_config
from plugin_bridge.daemon.folders import HOME_VARIABLE


def config(home: Path, *words: str, editor: str = "", typed: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, HOME_VARIABLE: str(home), "EDITOR": editor, "VISUAL": ""}
    command = [sys.executable, "-m", "plugin_bridge.cli", "config", *words]
    return subprocess.run(
        command, env=environment, input=typed, capture_output=True, text=True, timeout=60, check=False
    )


def editor(folder: Path, text: str) -> str:
    """An editor that writes `text` in place of what is there."""
    script = folder / "editor.py"
    lines = "import os, sys", f"open(sys.argv[1], 'w').write({text!r})"
    later = "os.utime(sys.argv[1], (2e9, 2e9))"  # an editor takes its time; click goes by the clock
    script.write_text("\n".join((*lines, later)))
    return f'"{sys.executable}" "{script}"'


def test_what_is_shown_is_a_configuration(tmp_path: Path) -> None:
    shown = config(tmp_path, "show")
    assert shown.returncode == 0
    assert parse_config(shown.stdout, Path("shown")) == Config()
    assert "not there yet" in shown.stdout
    assert config(tmp_path, "show", "--path").stdout.strip() == str(tmp_path / "config.toml")


def test_an_edit_is_saved_when_it_is_right_and_only_then(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    good = config(tmp_path, "edit", editor=editor(tmp_path, "tempo = 90.0\n"))
    assert good.stdout == f"{path}: saved\n", good.stderr
    assert path.read_text() == "tempo = 90.0\n"
    wrong = config(tmp_path, "edit", editor=editor(tmp_path, "tempo = 9.0\n"), typed="n\n")
    assert wrong.returncode == 130
    assert f"{path}:1: tempo: must be a number from 20 to 400" in wrong.stderr
    assert path.read_text() == "tempo = 90.0\n"


def test_check_names_a_file_that_is_not_there(tmp_path: Path) -> None:
    done = config(tmp_path, "check", str(tmp_path / "none.toml"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("none.toml: there is no such file\n")
