"""The acceptance of the live duet: another process plays in real time and records, through real ports."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fakes.jack import JackServer, start_jack, stop_jack
from fakes.stage import Stage
from fakes.waiting import wait_for

from plugin_bridge.duet.performance import performance
from plugin_bridge.engine.bundle import Style
from plugin_bridge.music.midi_file import read_midi, write_midi

HOST = Path(__file__).parents[1] / "fakes" / "midi_host.py"


@contextmanager
def _jam(style: Style, server: JackServer, folder: Path, *more: str) -> Iterator[subprocess.Popen[str]]:
    """A session that listens; it is killed where a test fails."""
    command = [
        sys.executable, "-m", "plugin_bridge.cli", "jam", "--style", str(style.folder), "--seed", "1",
        "--report", str(folder / "report.json"), "--save", str(folder / "both.mid"),
        "--takes", str(folder / "takes"), *more,
    ]  # fmt: skip
    process = subprocess.Popen(
        command, env=server.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "listening on" in line, line + (process.stdout.read() or "")
        yield process
    finally:
        process.kill()
        process.wait()


def _end(process: subprocess.Popen[str], how: str = "SIGTERM") -> None:
    """End a session, which ends in order unless it is killed."""
    process.send_signal(signal.Signals[how])
    out, _ = process.communicate(timeout=20)
    assert process.returncode == (-signal.SIGKILL if how == "SIGKILL" else 0), out


def _host(server: JackServer, midi: Path, record: Path) -> subprocess.Popen[str]:
    command = [
        sys.executable, str(HOST), str(midi), str(record), "--out-port", "Plugin Bridge In",
        "--in-port", "Plugin Bridge Out", "--api", "jack", "--tail", "12",
    ]  # fmt: skip
    return subprocess.Popen(
        command, env=server.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def _judge(rows: list[tuple[float, list[int]]]) -> int:
    """Every note-on has its off, in order, and nothing sounds at the end. Returns the number of notes."""
    held: set[int] = set()
    notes, last = 0, 0.0
    for when, message in rows:
        assert when >= last
        last = when
        kind = message[0] & 0xF0
        if kind == 0x90 and message[2] > 0:
            assert message[1] not in held, f"{message[1]} struck twice"
            held.add(message[1])
            notes += 1
        elif kind in (0x80, 0x90):
            held.discard(message[1])
    assert held == set()
    return notes


def test_a_real_performance_through_real_ports(jack_server: JackServer, style: Style, tmp_path: Path) -> None:
    midi, record = tmp_path / "played.mid", tmp_path / "record.json"
    played = performance(24.0)
    write_midi(played, midi)
    with _jam(style, jack_server, tmp_path) as process:
        host = _host(jack_server, midi, record)
        out, _ = host.communicate(timeout=90)
        assert host.returncode == 0, out
        _end(process)  # a session told to end ends in order
    report = json.loads((tmp_path / "report.json").read_text())
    recorded = json.loads(record.read_text())
    notes = _judge([(row[0], row[1]) for row in recorded["recorded"]])
    assert report["transport"] == "jack"
    assert notes == report["partner_notes"] > 0
    assert report["player_notes"] == len(played.notes)
    assert report["hung_notes"] == 0
    assert report["answers"] >= 1
    assert report["lateness_ms"]["n"] >= notes
    tracks = {track.name: len(track.notes) for track in read_midi(tmp_path / "both.mid").tracks}
    assert tracks == {"player": report["player_notes"], "partner": report["partner_notes"]}


@pytest.mark.parametrize("how", ["SIGINT", "SIGKILL"])
def test_ended_in_the_middle_of_a_note(
    how: str, jack_server: JackServer, style: Style, tmp_path: Path
) -> None:
    stage = Stage()
    try:
        named = ["--input", "Stage Keys", "--output", "Stage Synth", "--mode", "continuous"]
        with _jam(style, jack_server, tmp_path, *named) as process:
            assert wait_for(lambda: len(stage.notes_since(0.0)) > 4 and stage.sounding() > 0, 30.0)
            _end(process, how)
        assert wait_for(lambda: stage.sounding() == 0, 2.0)
    finally:
        stage.close()


def test_ended_while_the_jack_server_stands_still(style: Style, tmp_path: Path) -> None:
    server = start_jack(f"still-{os.getpid()}", tmp_path / "jack.log")
    try:
        with _jam(style, server, tmp_path) as process:
            server.process.send_signal(signal.SIGSTOP)
            _end(process)
        assert (tmp_path / "report.json").exists()
    finally:
        server.process.send_signal(signal.SIGCONT)
        stop_jack(server)


def test_a_device_that_goes_and_comes_back(jack_server: JackServer, style: Style, tmp_path: Path) -> None:
    stage = Stage()
    said: list[str] = []

    def told(what: str) -> bool:
        lines = [line for line in said if what in line]
        return any("'Stage Keys" in line for line in lines) and any("'Stage Synth" in line for line in lines)

    try:
        named = ["--input", "Stage Keys", "--output", "Stage Synth", "--mode", "continuous"]
        with _jam(style, jack_server, tmp_path, *named) as process:
            reader = threading.Thread(target=lambda: said.extend(iter(process.stdout.readline, "")))
            reader.start()
            assert wait_for(lambda: stage.notes_since(0.0))
            stage.close()
            assert wait_for(lambda: told("has gone")), said
            stage = Stage()
            assert wait_for(lambda: told("is there again")), said
            assert wait_for(lambda: stage.notes_since(0.0))
            process.terminate()
            assert process.wait(20) == 0
            reader.join()
        assert wait_for(lambda: stage.sounding() == 0, 2.0)
    finally:
        stage.close()


def test_names_that_are_taken(jack_server: JackServer, style: Style, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "plugin_bridge.cli", "jam", "--style", str(style.folder)]
    with _jam(style, jack_server, tmp_path) as process:
        for more, said in (
            ((), "'Plugin Bridge In' is there already"),
            (("--input", "Plugin Bridge Out", "--output-name", "Other Out"), "begins like a port of"),
            (("--input-name", " "), "needs a name"),
        ):
            done = subprocess.run(
                [*command, *more],
                env=jack_server.env,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert done.returncode == 2
            assert said in done.stderr
            assert done.stderr.count("\n") == 1
        _end(process)


def test_ports_that_are_not_there(jack_server: JackServer, style: Style) -> None:
    command = [
        sys.executable,
        "-m",
        "plugin_bridge.cli",
        "jam",
        "--style",
        str(style.folder),
        "--input",
        "No Such Piano",
    ]
    done = subprocess.run(
        command, env=jack_server.env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("plugin-bridge: error: ")
    assert "No Such Piano" in done.stderr
    assert done.stderr.count("\n") == 1
