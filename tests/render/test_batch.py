"""Whole batches in real processes: everything is there, nothing twice, what fails is named."""

from __future__ import annotations

import json
import multiprocessing
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from batches import DUET, FAULTY, contents, left_over, write_duet, write_manifest

from plugin_bridge.errors import BridgeError
from plugin_bridge.music.clip import Clip, Note
from plugin_bridge.render import Output, make_plan, render_batch
from plugin_bridge.render.batch import BatchReport
from plugin_bridge.render.encoding import decode
from plugin_bridge.render.plan import Plan
from plugin_bridge.render.sheet import write_sheet
from plugin_bridge.render.work import Outcome

BARE = Output(picture=False)
TAKES = '[defaults]\nchords = "Dm7 G7"\nbars = 2\n[[clip]]\nname = "take"\ntakes = {count}\n'


def takes(folder: Path, count: int, output: Output = BARE) -> Plan:
    return make_plan([write_manifest(folder / "pack.toml", TAKES.format(count=count))], output)


def index(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    return found


def names(report: BatchReport) -> list[str]:
    return [clip["name"] for clip in report.clips]


def render(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "plugin_bridge.cli", "render", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, **options)


def test_a_batch_writes_midi_sound_picture_and_a_line_for_each_clip(tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = render_batch(takes(tmp_path, 2, Output(formats=("wav16", "flac"))), out, jobs=2)
    assert report.rendered == 2 and not report.failures
    expected = {f"take-s{seed}.{suffix}" for seed in (0, 1) for suffix in ("mid", "wav", "flac", "png")}
    assert {path.name for path in out.iterdir()} == expected | {"index.json", ".plugin-bridge"}
    first, second = index(out)["clips"]
    assert (first["name"], first["seed"], second["seed"]) == ("take-s0", 0, 1)
    assert first["files"] == {
        "midi": "take-s0.mid", "audio": ["take-s0.wav", "take-s0.flac"], "stems": {}, "picture": "take-s0.png"
    }  # fmt: skip
    assert first["loudness_lufs"] == pytest.approx(-16, abs=0.5)
    assert left_over(out) == []


def test_the_same_manifest_gives_the_same_bytes_in_any_number_of_processes(tmp_path: Path) -> None:
    plan = takes(tmp_path, 3)
    for name, jobs in (("one", 1), ("two", 2)):
        render_batch(plan, tmp_path / name, jobs=jobs)
    one, two = (contents(tmp_path / name, ".mid", ".wav", ".json") for name in ("one", "two"))
    assert len(one) == 7
    assert one == two


def test_what_lies_there_is_not_rendered_again(tmp_path: Path) -> None:
    out = tmp_path / "out"
    render_batch(takes(tmp_path, 2), out, jobs=1)
    before = {path: path.stat().st_mtime_ns for path in out.glob("*.wav")}
    (out / "take-s1.wav").write_bytes(b"cut off")
    report = render_batch(takes(tmp_path, 3), out, jobs=1, resume=True)
    assert report.rendered == 2  # the damaged one and the new one
    assert names(report) == ["take-s0", "take-s1", "take-s2"]
    assert (out / "take-s0.wav").stat().st_mtime_ns == before[out / "take-s0.wav"]
    louder = render_batch(takes(tmp_path, 3, Output(picture=False, loudness=-20)), out, jobs=1, resume=True)
    assert louder.rendered == 3


def test_killed_at_half_and_resumed_nothing_is_missing_or_done_twice(tmp_path: Path) -> None:
    out, songs, count = tmp_path / "out", tmp_path / "songs", 24
    songs.mkdir()
    for number in range(count):
        write_duet(songs / f"song-{number}.mid", DUET.shifted(number / 10))
    command = [sys.executable, "-m", "plugin_bridge.cli", "render", str(songs), "--out", str(out)]
    process = subprocess.Popen([*command, "--jobs", "2", "--no-picture"], stderr=subprocess.DEVNULL)
    records = out / ".plugin-bridge"
    while len(list(records.glob("song*.json"))) < count // 2:
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(1.0)  # its processes end by themselves
    done = {path.name: path.stat().st_mtime_ns for path in records.glob("song*.json")}
    assert count // 2 <= len(done) < count
    plan = make_plan([songs], BARE)
    report = render_batch(plan, out, jobs=2, resume=True)
    assert len(report.clips) == count
    assert report.rendered == count - len(done)
    after = {path.name: path.stat().st_mtime_ns for path in records.glob("song*.json")}
    assert {name: after[name] for name in done} == done
    assert left_over(out) == []
    whole = render_batch(plan, tmp_path / "whole", jobs=2)
    assert contents(out, ".mid", ".wav", ".json") == contents(whole.folder, ".mid", ".wav", ".json")


def test_a_plugin_that_crashes_or_hangs_costs_its_clip_only(tmp_path: Path, synth: Path) -> None:
    write_duet(tmp_path / "good.mid")
    write_duet(tmp_path / "bad.mid", FAULTY)
    (tmp_path / "crash.toml").write_text("[parameters]\nfault = 1.0")
    (tmp_path / "hang.toml").write_text("[parameters]\nfault = 2.0")
    row = f'[[clip]]\nmidi = "{{midi}}.mid"\nname = "{{preset}}-{{midi}}"\ninstrument = "{synth}"\n'
    row += 'preset = "{preset}.toml"'
    rows = [row.format(midi=midi, preset=preset) for preset in ("crash", "hang") for midi in ("bad", "good")]
    plan = make_plan([write_manifest(tmp_path / "pack.toml", "\n".join(rows))], BARE)
    report = render_batch(plan, tmp_path / "out", jobs=2, time_limit=10)
    assert names(report) == ["crash-good", "hang-good"]
    reasons = {failure.name: failure.reason for failure in report.failures}
    assert reasons["crash-bad"] == "plugin BridgeTestSynth crashed (SIGABRT)"
    assert reasons["hang-bad"] == "plugin BridgeTestSynth did not answer within 10 s and was ended"
    assert [failure["where"] for failure in index(tmp_path / "out")["failures"]] == [
        failure.where for failure in report.failures
    ]


@pytest.mark.parametrize(
    ("row", "about"),
    [
        (
            'preset = "x.toml"',
            "row 1, instrument: plugin BridgeTestSynth: parameter gain: 5.0 is out of range",
        ),
        ('effects = "odd.toml"', "row 1, effects: plugin BridgeTestSynth: is an instrument, not an effect"),
    ],
)
def test_plugins_are_tried_before_work_starts(tmp_path: Path, synth: Path, row: str, about: str) -> None:
    write_duet(tmp_path / "a.mid")
    (tmp_path / "x.toml").write_text("[parameters]\ngain = 5.0")
    (tmp_path / "odd.toml").write_text(f'[[effect]]\nplugin = "{synth}"')
    text = f'[[clip]]\nmidi = "a.mid"\ninstrument = "{synth}"\n{row}'
    plan = make_plan([write_manifest(tmp_path / "pack.toml", text)], BARE)
    with pytest.raises(BridgeError, match=about):
        render_batch(plan, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.wav"))


def test_a_process_that_dies_costs_nothing_but_time(tmp_path: Path) -> None:
    killed: list[int] = []

    def kill_one(outcome: Outcome) -> None:
        if not killed:
            worker = multiprocessing.active_children()[0]
            killed.append(worker.pid or 0)
            worker.kill()

    songs = tmp_path / "songs"
    songs.mkdir()
    for number in range(8):
        write_duet(songs / f"song-{number}.mid")
    report = render_batch(make_plan([songs], BARE), tmp_path / "out", jobs=2, progress=kill_one)
    assert killed
    assert len(report.clips) == 8 and not report.failures
    assert left_over(tmp_path / "out") == []


def test_a_clip_that_is_too_long_for_a_picture_is_rendered_without(tmp_path: Path) -> None:
    midi = write_duet(tmp_path / "long.mid", Clip((Note(0, 1, 60, 80), Note(1300, 1301, 62, 80))))
    report = render_batch(make_plan([midi], Output(sample_rate=8000, channels=1)), tmp_path / "out", jobs=1)
    assert not report.failures
    assert "picture" not in report.clips[0]["files"]
    assert report.clips[0]["seconds"] == pytest.approx(1301, abs=5)


def test_stems_add_up_to_the_mix(tmp_path: Path) -> None:
    write_duet(tmp_path / "duet.mid")
    output = Output(formats=("wav32f",), stems=True, picture=False)
    plan = make_plan([tmp_path / "duet.mid"], output, effects="none")
    report = render_batch(plan, tmp_path / "out", jobs=1)
    assert report.clips[0]["files"]["stems"] == {
        "player": ["duet.player.wav"],
        "partner": ["duet.partner.wav"],
    }
    mix, player, partner = (
        decode((tmp_path / "out" / f"duet{part}.wav").read_bytes()) for part in ("", ".player", ".partner")
    )
    assert np.abs(player).max() > 0.01 < np.abs(partner).max()
    assert np.abs(player + partner - mix).max() < 1e-4


def test_a_full_disk_ends_the_batch_with_one_line_a_clip(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(small)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small disk can only be made by root")
    try:
        report = render_batch(takes(tmp_path, 6), small / "out", jobs=2)
        assert 1 <= len(report.clips) < 6
        done, failed = set(names(report)), {failure.name for failure in report.failures}
        assert done | failed >= {f"take-s{seed}" for seed in range(6)} and not done & failed
        assert all("disk is full" in failure.reason for failure in report.failures)
        assert left_over(small / "out") == []
        for clip in report.clips:
            assert (small / "out" / clip["files"]["audio"][0]).stat().st_size > 1000
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_folder_that_cannot_be_written_is_refused_before_work_starts(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BridgeError, match="file/out: cannot be written to"):
        render_batch(takes(tmp_path, 1), tmp_path / "file" / "out")


def test_a_cluster_gives_the_same_bytes(tmp_path: Path) -> None:
    import distributed

    local_cluster: Any = distributed.LocalCluster
    plan = takes(tmp_path, 3)
    here = render_batch(plan, tmp_path / "here", jobs=1)
    with local_cluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        there = render_batch(plan, tmp_path / "there", cluster=cluster.scheduler_address)
    assert there.rendered == 3
    assert contents(here.folder, ".mid", ".wav", ".json") == contents(there.folder, ".mid", ".wav", ".json")


def test_no_cluster_there_is_one_line(tmp_path: Path) -> None:
    done = render(write_duet(tmp_path / "a.mid"), "--out", tmp_path / "out", "--cluster", "tcp://127.0.0.1:9")
    assert done.returncode == 2
    assert done.stderr.startswith("plugin-bridge: error: tcp://127.0.0.1:9: no dask scheduler answers there")


def test_the_command_does_the_rest_lists_what_failed_and_ends_with_2(tmp_path: Path) -> None:
    songs = tmp_path / "songs"
    songs.mkdir()
    write_duet(songs / "good.mid")
    (songs / "broken.mid").write_bytes(b"MThd")
    done = render(songs, "--out", tmp_path / "out", "--format", "flac", "--no-picture")
    assert done.returncode == 2
    first, *_, count, last = done.stderr.splitlines()
    assert first.startswith("left out: ") and "broken.mid" in first
    assert count == "1 failed:"
    assert last.startswith("  broken (") and "not a readable MIDI file" in last
    assert done.stdout.startswith("1 clips rendered in ")
    assert (tmp_path / "out" / "good.flac").exists()
    assert "broken" in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")


def test_the_command_reports_in_json_and_resumes(tmp_path: Path) -> None:
    midi = write_duet(tmp_path / "a.mid")
    for rendered in (1, 0):
        done = render(midi, "--out", tmp_path / "out", "--resume", "--json", "--no-picture")
        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout)
        assert (report["clips"], report["rendered"], report["failed"]) == (1, rendered, 0)


def test_an_error_in_a_manifest_is_one_line_and_nothing_is_written(tmp_path: Path) -> None:
    pack = write_manifest(tmp_path / "pack.csv", "chords,bars\n" + "C,1\n" * 16 + "Xyz,1\n")
    done = render(pack, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert done.stderr.startswith(f"plugin-bridge: error: {pack}: row 17, chords: ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_rendering_beside_the_source_leaves_the_source_as_it_is(tmp_path: Path) -> None:
    midi = write_duet(tmp_path / "a.mid", DUET)
    before = midi.read_bytes()
    report = render_batch(make_plan([midi], BARE), tmp_path, jobs=1)
    assert not report.failures
    assert midi.read_bytes() == before
    write_sheet(tmp_path, report.clips)
    assert (tmp_path / "a.wav").stat().st_size > 1000
