"""The commands as a user runs them: as processes, judged by status, output and files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fakes.bundles import write_untrained_checkpoint
from made_pieces import write_pieces

from plugin_bridge.engine.bundle import Style
from plugin_bridge.music.clip import Clip, Note
from plugin_bridge.music.events import Part
from plugin_bridge.music.midi_file import read_midi, write_midi


def run(*arguments: str | Path, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "plugin_bridge.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


def refused(done: subprocess.CompletedProcess[str], about: str) -> None:
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.startswith("plugin-bridge: error: ")
    assert done.stderr.count("\n") == 1, done.stderr
    assert about in done.stderr


COMMANDS = (
    "", "demo", "jam", "generate", "ports", "styles", "doctor", "prepare", "train", "train base",
    "train style", "evaluate", "export", "bench", "bench engine", "bench sampler", "bench duet",
    "bench tokens", "bench render", "render", "instruments",
)  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    done = run(*command.split(), "--help")
    assert done.returncode == 0
    assert "Usage: plugin-bridge" in done.stdout


def test_starting_up_imports_nothing_heavy() -> None:
    code = (
        "import sys, plugin_bridge.cli, plugin_bridge.duet.live, plugin_bridge.engine.generation; "
        "heavy = {'torch', 'matplotlib', 'pedalboard', 'model', 'export', 'onnx'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_running_duet_never_imports_torch(style: Style, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from plugin_bridge.engine.bundle import load_style\n"
        "from plugin_bridge.engine.engine import Engine\n"
        "from plugin_bridge.engine.generation import Request, generate\n"
        "from plugin_bridge.duet.session import DuetSession\n"
        "from plugin_bridge.ports.loopback import loopback_pair\n"
        "engine = Engine(load_style(Path(sys.argv[1])))\n"
        "generate(engine, Request(bars=1))\n"
        "with DuetSession(engine, loopback_pair()[0]): pass\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(style.folder)], check=True, timeout=60)


def test_generate_twice_gives_the_same_bytes(style: Style, tmp_path: Path) -> None:
    chords = ["--chords", "Cmaj7 Dm7 G7 Cmaj7", "--bars", "4", "--style", str(style.folder)]
    for name in ("one.mid", "two.mid"):
        done = run("generate", *chords, "--seed", "7", "-o", tmp_path / name)
        assert done.returncode == 0, done.stderr
        assert "chord-tone rate" in done.stdout
    assert (tmp_path / "one.mid").read_bytes() == (tmp_path / "two.mid").read_bytes()
    done = run("generate", *chords, "--seed", "8", "-o", tmp_path / "three.mid", "--json")
    assert json.loads(done.stdout)["notes"] == read_midi(tmp_path / "three.mid").note_count
    assert (tmp_path / "three.mid").read_bytes() != (tmp_path / "one.mid").read_bytes()


def test_generate_goes_on_from_a_prompt(style: Style, tmp_path: Path) -> None:
    prompt = Clip(tuple(Note(i * 0.5, i * 0.5 + 0.4, 60 + i, 80, Part.PLAYER) for i in range(8)))
    write_midi(prompt, tmp_path / "prompt.mid")
    out = tmp_path / "out.mid"
    done = run(
        "generate", "--prompt", tmp_path / "prompt.mid", "--bars", "2", "--style", style.folder, "-o", out
    )
    assert done.returncode == 0, done.stderr
    notes = sorted(note for track in read_midi(out).tracks for note in track.notes)
    assert [note.pitch for note in notes[:8]] == list(range(60, 68))
    assert len(notes) > 8


@pytest.mark.parametrize(
    ("arguments", "about"),
    [
        (["generate", "--chords", "Cmaj7 H#9", "-o", "x.mid"], "H#9"),
        (["generate", "--chords", "C", "--style", "nobody", "-o", "x.mid"], "nobody"),
        (["generate", "--prompt", "missing.mid", "-o", "x.mid"], "missing.mid"),
        (["generate"], "--output"),
        (["generate", "--bars", "0", "-o", "x.mid"], "--bars"),
        (["generate", "--tempo", "fast", "-o", "x.mid"], "--tempo"),
        (["jam", "--mode", "fight"], "fight"),
        (["prepare", "nowhere", "-o", "out"], "nowhere"),
        (["train", "base", "--data", "nowhere", "--out", "run"], "nowhere"),
        (["train", "base", "--data", "nowhere", "--out", "run", "--size", "giant"], "giant"),
        (["export", "nowhere", "-o", "bundle"], "nowhere"),
        (["export", "base", "--adapter", "nowhere", "-o", "bundle"], "nowhere"),
        (["export", "x", "--adapter", "nowhere", "--base", "-o", "bundle"], "no base"),
        (["train", "style", "nowhere", "--name", "x", "--work", "w", "-o", "o"], "nowhere"),
        (["train", "style", "nowhere", "--name", "../x"], "../x"),
        (["train", "style", "nowhere", "--name", "x", "--base", "nobody"], "nobody"),
        (["train", "style", "nowhere", "--name", "x", "--rank", "64"], "--rank"),
        (["train", "style", "nowhere", "--name", "x", "--mix", "0.3"], "--base-data"),
        (["train", "style", "--name", "x"], "MIDI"),
        (["jam", "--style", "base=0.5"], "keeps no adapter"),
        (["generate", "--style", "a=b", "-o", "x.mid"], "STYLE=WEIGHT"),
        (["prepare", ".", "-o", "out", "--cluster", "tcp://127.0.0.1:9"], "127.0.0.1:9"),
        (["evaluate", "--data", "nowhere", "--style", "nobody"], "nobody"),
        (["no-such-command"], "no-such-command"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], about: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(run(*arguments), about)
    assert not (tmp_path / "x.mid").exists()


def test_output_that_cannot_be_written(style: Style, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("I am a file")
    refused(run("generate", "--style", style.folder, "-o", blocked / "out.mid"), "file")
    refused(run("demo", "--style", style.folder, "--out", blocked), "file")
    assert blocked.read_text() == "I am a file"


def test_a_device_is_not_replaced_by_a_file(style: Style) -> None:
    device = Path(os.devnull)
    refused(run("generate", "--style", style.folder, "-o", device), "device")
    assert not device.is_file()


def test_styles_lists_the_built_in_style() -> None:
    done = run("styles", "--json")
    assert done.returncode == 0
    base = {row["name"]: row for row in json.loads(done.stdout)}["base"]
    assert base["parameters"] > 1e6
    assert base["sources"]


def test_export_and_bench(tmp_path: Path) -> None:
    checkpoint = write_untrained_checkpoint(tmp_path / "checkpoint")
    done = run("export", checkpoint, "-o", tmp_path / "mine", "--json")
    assert done.returncode == 0, done.stderr
    parity = json.loads(done.stdout)["parity"]
    assert parity["onnx_fp32"] < 1e-4
    done = run("bench", "engine", "--style", tmp_path / "mine", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["ratio_to_floor"] > 0
    assert report["ratio_to_torch"] > 0
    assert set(report["prefill_ms"]) == {"8", "64", "256"}


def test_bench_tokens_counts_the_events_of_a_file(tmp_path: Path) -> None:
    midi = tmp_path / "two.mid"
    write_midi(Clip((Note(0.0, 0.5, 60, 80), Note(1.0, 1.5, 64, 80))), midi)
    done = run("bench", "tokens", "--midi", midi, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["events"] == 4
    write_midi(Clip(), midi)
    refused(run("bench", "tokens", "--midi", midi), "has no notes")


@pytest.mark.timeout(900)
def test_a_style_from_files_to_a_clip(tmp_path: Path) -> None:
    """The built-in base, a few pieces, one epoch: a style that is there and plays, alone and on the base."""
    midi = write_pieces(tmp_path / "midi", [f"p{i}" for i in range(5)], bars=8)
    bundle = tmp_path / "styles" / "mine"
    arguments = ["train", "style", midi, "--name", "mine", "--work", tmp_path / "work", "-o", bundle]
    done = run(*arguments, "--epochs", "1", "--length", "128", "--batch", "2", "--clips", "1", timeout=600)
    assert done.returncode == 0, done.stderr
    assert f"jam --style {bundle}" in done.stdout
    for style in (bundle, f"{bundle}=1", f"{bundle}=0.5"):
        out = tmp_path / "out.mid"
        done = run("generate", "--style", style, "--bars", "2", "-o", out)
        assert done.returncode == 0, done.stderr
        assert read_midi(out).note_count > 0
    refused(run("evaluate", "--data", midi, "--style", f"{bundle}=1", "--record"), "blend")
    refused(run(*arguments, "--learning-rate", "0.5"), "--restart")


def test_doctor_names_what_it_finds() -> None:
    done = run("doctor", "--json")
    findings = {finding["what"]: finding for finding in json.loads(done.stdout)}
    assert findings["Python"]["ok"]
    assert findings["style base"]["ok"] or findings["style base"]["mend"]
    assert all(finding["ok"] or finding["mend"] for finding in findings.values())
    assert done.returncode == (0 if all(finding["ok"] for finding in findings.values()) else 1), done.stderr


def test_demo_leaves_its_four_files(tmp_path: Path) -> None:
    done = run("demo", "--seconds", "24", "--out", tmp_path / "duet", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report == json.loads((tmp_path / "duet" / "report.json").read_text())
    assert report["hung_notes"] == report["received_hung"] == 0
    assert report["partner_notes"] == report["received_notes"] > 0
    assert report["audio"]["clipped_samples"] == 0
    assert report["audio"]["silent_note_fraction"] == 0
    for name in ("duet.mid", "duet.wav", "duet.png"):
        assert (tmp_path / "duet" / name).stat().st_size > 300
    assert {track.name for track in read_midi(tmp_path / "duet" / "duet.mid").tracks} == {"player", "partner"}
