"""The fake FL Studio is strict where FL is: what a script must not do shows."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

import pytest
from fakes.fl_host import FlHost, HostOptions


def host(tmp_path: Path, source: str, **options: Unpack[HostOptions]) -> FlHost:
    folder = tmp_path / "Naughty"
    folder.mkdir()
    (folder / "device_Naughty.py").write_text(f"# name=Naughty\n{source}\n", encoding="utf-8")
    return FlHost(folder=folder, **options)


@pytest.mark.parametrize(
    "act",
    [
        "open('x')", "import os; os.open('x', 0)", "import socket; socket.socket()",
        "import time; time.sleep(1)",
        "import threading; threading.Thread()", "import subprocess; subprocess.run('x')", "__file__", "1 / 0",
        "import device; device.isMidiOutAssigned()", "import numpy",
    ],
)  # fmt: skip
def test_what_a_script_may_not_do_escapes_and_fails_the_run(tmp_path: Path, act: str) -> None:
    fl = host(tmp_path, f"def OnIdle():\n    {act}")
    fl.start()
    fl.advance(0.1)
    with pytest.raises(AssertionError):
        fl.finish()


@pytest.mark.parametrize(("api", "error"), [(20, TypeError), (37, RuntimeError)])
def test_changes_are_refused_while_the_script_is_imported(
    tmp_path: Path, api: int, error: type[Exception]
) -> None:
    with pytest.raises(error, match="unsafe"):
        host(tmp_path, "import ui; ui.setHintMsg('hello')", api=api).start()


@pytest.mark.parametrize(
    "source", ["text = 'caf\u00e9'", "match 1:\n    case 1:\n        pass", "x: int | = 1"]
)
def test_a_file_that_an_older_python_cannot_read_is_refused(tmp_path: Path, source: str) -> None:
    with pytest.raises((SyntaxError, UnicodeDecodeError)):
        host(tmp_path, source).start()


def test_changes_are_refused_while_a_dialog_is_open(tmp_path: Path) -> None:
    fl = host(tmp_path, "import channels\ndef OnIdle(): channels.midiNoteOn(0, 60, 100)")
    fl.start()
    fl.modal = True
    fl.advance(0.02)
    assert fl.refused == 1
    assert "RuntimeError" in fl.escaped[0]


@pytest.mark.parametrize(
    ("message", "arrives"),
    [
        ("bytes((0x7d, 1))", False),
        ("bytes((0xf0, 0x7d, 1))", False),
        ("b'\\xf0' + bytes(1022) + b'\\xf7'", True),
        ("b'\\xf0' + bytes(1023) + b'\\xf7'", False),
    ],
    ids=["no frame", "no end", "1024 bytes", "1025 bytes"],
)
def test_sysex_that_fl_or_windows_drops_is_dropped(tmp_path: Path, message: str, arrives: bool) -> None:
    fl = host(tmp_path, f"import device\ndef OnRefresh(flags): device.midiOutSysex({message})")
    fl.start()
    assert bool(fl.arrived) is arrives


@pytest.mark.parametrize(("platform", "most"), [("win32", 1), ("darwin", 8)])
def test_a_burst_is_cut(tmp_path: Path, platform: str, most: int) -> None:
    source = "import device\ndef OnRefresh(flags):\n"
    source += "    for _ in range(20): device.midiOutSysex(b'\\xf0\\x7d\\xf7')"
    fl = host(tmp_path, source, platform=platform)
    fl.start()
    assert len(fl.arrived) == most


def test_a_note_that_is_left_sounding_fails_the_run(tmp_path: Path) -> None:
    fl = host(tmp_path, "")
    fl.start()
    fl.deliver(b"\x90\x3c\x40")
    assert fl.sounding() == [("Piano", 60)]
    with pytest.raises(AssertionError):
        fl.finish()
    fl.selected = 0  # the note-off goes where the note-on went
    fl.deliver(b"\x80\x3c\x40")
    fl.finish()


def test_a_handled_message_goes_no_further(tmp_path: Path) -> None:
    fl = host(tmp_path, "def OnMidiMsg(event): event.handled = True\ndef OnNoteOn(event): 1 / 0")
    fl.start()
    fl.deliver(b"\x90\x3c\x40")
    assert fl.sounding() == []
    fl.finish()


def test_beats_are_indicated(tmp_path: Path) -> None:
    fl = host(tmp_path, "def OnUpdateBeatIndicator(value): print(value)")
    fl.start()
    fl.play()
    fl.advance(2.1)
    fl.stop()
    fl.advance(0.1)
    assert fl.printed == ["1", "2", "2", "2", "1", "0"]


def test_the_song_loops_where_it_is_told_to(tmp_path: Path) -> None:
    fl = host(tmp_path, "")
    fl.start()
    fl.selection = (96 * 4, 96 * 8)
    fl.jump(7.5)
    fl.play()
    fl.advance(0.5)
    assert fl.position() == pytest.approx(4.5)
    fl.song_mode = False
    fl.jump(3.5)
    fl.advance(0.5)
    assert fl.position() == pytest.approx(0.5)
