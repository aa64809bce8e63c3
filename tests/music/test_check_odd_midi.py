"""The tool that holds the reader against others."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from music_strategies import midi_bytes

TOOL = Path(__file__).parents[2] / "tools" / "check_odd_midi.py"
NOTE = b"\x00\x90\x3c\x50\x83\x60\x80\x3c\x00"


def check(folder: Path, *rows: str) -> subprocess.CompletedProcess[str]:
    table = ["file\tmido\tsymusic\tpretty_midi", *rows]
    (folder / "MANIFEST.tsv").write_text("\n".join(table) + "\n")
    command = [sys.executable, str(TOOL), str(folder), "--json"]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "good.mid").write_bytes(midi_bytes(NOTE))
    (tmp_path / "bad.mid").write_bytes(b"no MIDI")
    (tmp_path / "delta_max.mid").write_bytes(midi_bytes(b"\xff\xff\xff\x7f" + NOTE[1:]))
    return tmp_path


def test_agreement_is_no_news(folder: Path) -> None:
    rows = ("good.mid\tok:1\tok:1\tok:7", "bad.mid\texc:a\texc:b\tok:0", "good.mid\tok:2\tok:3\tok:4")
    done = check(folder, *rows)
    assert done.returncode == 0
    assert json.loads(done.stdout) == {"files": 3, "differences": [], "unexplained": 0, "undecided": 1}


def test_a_difference_with_a_reason_passes(folder: Path) -> None:
    done = check(folder, "delta_max.mid\tok:1\tok:1\texc:too long")
    assert done.returncode == 0
    assert "more than a day" in json.loads(done.stdout)["differences"][0]["reason"]


def test_a_difference_without_a_reason_fails(folder: Path) -> None:
    done = check(folder, "good.mid\tok:2\tok:2\tok:1")
    assert done.returncode == 1
    (difference,) = json.loads(done.stdout)["differences"]
    assert difference == {"file": "good.mid", "ours": "1", "theirs": "2", "reason": None}


def test_a_folder_that_is_none_is_told_in_one_line(folder: Path) -> None:
    done = check(folder, "missing.mid\tok:2\tok:2\tok:1")
    assert done.returncode == 2
    assert "missing.mid" in done.stderr
    assert done.stderr.count("\n") == 1
