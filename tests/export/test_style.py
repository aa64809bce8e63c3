"""From a musician's files to an installed style, and every way that can go wrong."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from pathlib import Path

import mido
import numpy as np
import pytest
from fakes.bundles import make_bundle, make_style_bundle, untrained_adapter
from made_pieces import Inline, write_pieces
from style_runs import OPTIONS

import export.style as module
from export.adapter import export_adapter, graph_factors
from export.style import StyleRequest, make_style
from model.adapter import load_adapter, save_adapter
from model.base import load_base
from model.prepare import prepare
from plugin_bridge.engine.adapters import choose_style, read_factors
from plugin_bridge.engine.bundle import load_style
from plugin_bridge.engine.engine import Engine
from plugin_bridge.errors import BridgeError


@pytest.fixture(scope="module")
def midi(tmp_path_factory):
    return write_pieces(tmp_path_factory.mktemp("mine"), [f"piece{i}" for i in range(7)], bars=6)


def request_for(base, midi: Path, folder: Path, **changes) -> StyleRequest:
    return replace(
        StyleRequest(
            (midi,), "mine", folder / "work", folder / "styles" / "mine", str(base.style.folder),
            training=replace(OPTIONS, epochs=2), clips=2, tokens=500,
        ),
        **changes,
    )  # fmt: skip


@pytest.fixture(scope="module")
def made(base, midi, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    (folder / "styles").mkdir()
    (folder / "styles" / "base").symlink_to(base.style.folder)
    told: list[str] = []
    others = write_pieces(folder / "others", ["x", "y", "z"], bars=8)
    request = request_for(base, midi, folder, others=(others,))
    return request, make_style(request, told.append), told


def test_a_style_is_installed_and_plays(made):
    request, report, told = made
    style = load_style(request.output)
    assert style.name == "mine"
    assert Engine(style).extend([3, 10], [0, 0]).shape == (395,)
    assert style.description["metrics"]["nats"] == report["nats"]
    assert style.description["provenance"]["sources"] == {
        "mine0": {"pieces": 7, "licence": "not stated"}
    } or (next(iter(style.description["provenance"]["sources"].values()))["pieces"] == 7)
    assert told[-1].startswith("installed")
    assert (request.work / "style.png").read_bytes().startswith(b"\x89PNG")
    assert (request.work / "run" / "curve.png").exists()
    assert json.loads((request.work / "report.json").read_text()) == json.loads(json.dumps(report))


def test_the_report_says_what_was_measured(made):
    _, report, _ = made
    assert report["pieces"] == {"train": 5, "valid": 1, "test": 1}
    assert set(report["nats"]) == {"held_out", "others"}
    for row in report["nats"].values():
        assert row["change"] == pytest.approx(row["after_per_note"] / row["before_per_note"] - 1)
        assert row["notes"] > 0
    assert 0 < report["trainable_share"] < 0.3
    assert report["copying"]["clips"] == 2
    assert {"prepare", "train", "export", "measure", "copying"} <= report["seconds"].keys()


def test_each_stage_keeps_what_the_one_before_it_was(made):
    stages = made[1]["stages"]
    assert list(stages) == ["adapter", "merged", "onnx_fp32", "onnx_int8"]
    assert stages["merged"]["worst_token"] <= 1e-5
    assert stages["onnx_fp32"]["worst_token"] <= 1e-4
    exact, quantised = (stages[name]["nats_per_token"] for name in ("onnx_fp32", "onnx_int8"))
    assert abs(exact - quantised) <= 0.01


def test_the_adapter_beside_it_plays_on_the_shared_base(made):
    request, _, _ = made
    shared = choose_style(f"{request.output}=1")
    assert shared.factors
    assert shared.folder.resolve() != request.output.resolve()
    Engine(shared).extend([3, 10], [0, 0])


def test_a_second_run_trains_no_more_and_installs_the_same(made):
    request, report, _ = made
    before = (request.output / "model.onnx").read_bytes()
    again = make_style(request)
    assert again["training"] == report["training"]
    assert (request.output / "model.onnx").read_bytes() == before


def test_restart_begins_anew(base, midi, tmp_path):
    make_style(request_for(base, midi, tmp_path, adapter_only=True))
    other = request_for(base, midi, tmp_path, adapter_only=True, training=replace(OPTIONS, epochs=1, seed=5))
    with pytest.raises(BridgeError, match="seed"):
        make_style(other)
    assert make_style(replace(other, restart=True))["training"]["step"] > 0


def test_adapter_only_stops_at_the_adapter(base, midi, tmp_path):
    request = request_for(base, midi, tmp_path, adapter_only=True)
    report = make_style(request)
    assert "nats" not in report
    assert not request.output.exists()
    assert (request.work / "run" / "adapter" / "adapter_model.safetensors").stat().st_size <= report[
        "adapter_bytes"
    ]
    export_adapter(
        str(base.style.folder), request.work / "run" / "adapter", tmp_path / "b", name="b", precision="fp32"
    )
    assert load_style(tmp_path / "b").description["adapter"]["base"] == base.fingerprint


def test_an_adapter_file_holds_the_adapter(base, tmp_path):
    adapter = untrained_adapter(base)
    save_adapter(adapter, tmp_path / "a")
    export_adapter(str(base.style.folder), tmp_path / "a", tmp_path / "b", name="b", precision="int8")
    factors = read_factors(load_style(tmp_path / "b"))
    expected = graph_factors(adapter)
    assert factors.keys() == expected.keys()
    assert all(np.array_equal(factors[name], expected[name]) for name in factors)


# what goes wrong ends in one line, with what there is kept


def refused(request: StyleRequest, reason: str) -> BridgeError:
    with pytest.raises(BridgeError, match=reason) as raised:
        make_style(request)
    assert "\n" not in str(raised.value)
    assert not request.output.exists()
    return raised.value


def test_two_pieces_are_too_few(base, tmp_path):
    midi = write_pieces(tmp_path / "midi", ["a", "b"])
    refused(request_for(base, midi, tmp_path), "2 usable pieces.*too few")


def test_a_piece_of_three_notes_and_a_drum_track_are_skipped_with_a_reason(base, midi, tmp_path):
    mine = write_pieces(tmp_path / "mine", [f"piece{i}" for i in range(5)], bars=6)
    for name, channel in (("three", 0), ("drums", 9)):
        file = mido.MidiFile()
        track = mido.MidiTrack()
        file.tracks.append(track)
        for _ in range(3 if name == "three" else 40):
            track.append(mido.Message("note_on", note=60, velocity=80, time=10, channel=channel))
            track.append(mido.Message("note_off", note=60, time=10, channel=channel))
        file.save(mine / f"{name}.mid")
    told: list[str] = []
    report = make_style(request_for(base, mine, tmp_path, adapter_only=True), told.append)
    assert report["summary"]["pieces"] == 5
    assert {name for name, _ in report["summary"]["skipped"]} == {"three.mid", "drums.mid"}
    assert any("three.mid: only 3 notes" in line for line in told)
    assert any("drums.mid: only drums" in line for line in told)


def test_a_library_with_broken_files_is_read_without_them(base, tmp_path):
    library = write_pieces(tmp_path / "library", [f"p{i:03d}" for i in range(60)], bars=4)
    for index in range(12):
        (library / f"broken{index}.mid").write_bytes(b"MThd\0\0\0\6\0\1" + bytes(index))
    (library / "p000.chords.txt").write_text("this is no chord file\n", encoding="utf-8")
    (library / "p001.chords.txt").write_text("0.0\t9999.0\tC:maj\n-5\t3\tH:weird\n", encoding="utf-8")
    report = make_style(
        request_for(base, library, tmp_path, adapter_only=True, training=replace(OPTIONS, epochs=1))
    )
    skipped = dict(report["summary"]["skipped"])
    assert sum(name.startswith("broken") for name in skipped) == 12
    assert report["summary"]["pieces"] + len(skipped) == 72
    assert set(skipped) <= {f"broken{i}.mid" for i in range(12)} | {"p000.mid", "p001.mid"}


def test_files_that_are_not_there_are_named(base, tmp_path):
    refused(request_for(base, tmp_path / "nowhere", tmp_path), "nowhere")


@pytest.mark.parametrize("restart", [False, True])
def test_a_folder_with_something_else_in_it_is_never_a_run(base, midi, tmp_path, restart):
    mine = write_pieces(tmp_path / "mine", [f"p{i}" for i in range(5)])
    refused(request_for(base, mine, tmp_path, work=mine, restart=restart), "no run of train style")
    assert len(list(mine.glob("*.mid"))) == 5


def test_restart_keeps_the_old_run_until_the_files_were_read(base, midi, tmp_path):
    request = request_for(base, midi, tmp_path, adapter_only=True)
    make_style(request)
    with pytest.raises(BridgeError, match="there is no such file"):
        make_style(replace(request, midi=(tmp_path / "mistyped.mid",), restart=True))
    assert (request.work / "run" / "adapter" / "adapter_model.safetensors").exists()


@pytest.mark.parametrize("where", ["same", "inside", "around"])
def test_run_and_bundle_lie_apart(base, midi, tmp_path, where):
    work = tmp_path / "a" / "work"
    output = {"same": work, "inside": work / "x", "around": work.parent}[where]
    refused(request_for(base, midi, tmp_path, work=work, output=output), "must lie apart")


def test_a_base_is_not_replaced_by_a_style(base, midi, tmp_path):
    own = make_bundle(tmp_path / "own", seed=5, as_base=True).folder
    request = replace(request_for(base, midi, tmp_path), base=str(own), output=own)
    with pytest.raises(BridgeError, match="is a base"):
        make_style(request)
    adapter = untrained_adapter(load_base(str(own)))
    save_adapter(adapter, tmp_path / "a")
    with pytest.raises(BridgeError, match="is a base"):
        export_adapter(str(own), tmp_path / "a", own, name="x", precision="int8")
    assert (own / "weights.safetensors").exists()


def test_base_data_without_what_is_asked_of_it_is_refused_before_training(base, midi, tmp_path):
    write_pieces(tmp_path / "few", ["a", "b", "c"])
    prepare([tmp_path / "few"], tmp_path / "data", executor=Inline(), held_out=(0.0, 0.0))
    training = replace(OPTIONS, base_data=tmp_path / "data")
    refused(request_for(base, midi, tmp_path, training=training), "no pieces in its test split")


def test_the_licence_is_that_of_every_file_given(base, midi, tmp_path):
    request = request_for(base, midi, tmp_path, adapter_only=True, licence="CC BY 4.0")
    request = replace(request, midi=tuple(sorted(midi.glob("*.mid"))))
    report = make_style(request)
    about = load_adapter(request.work / "run" / "adapter", base).provenance
    assert {source["licence"] for source in about["sources"].values()} == {"CC BY 4.0"}
    assert report["summary"]["pieces"] == 7


def test_more_epochs_go_on_from_where_it_was(base, midi, tmp_path):
    request = request_for(base, midi, tmp_path, adapter_only=True)
    first = make_style(request)["training"]["step"]
    longer = replace(request, training=replace(request.training, epochs=4))
    assert make_style(longer)["training"]["step"] == 2 * first


def test_a_short_piece_still_stops_the_training(base, midi, tmp_path):
    training = replace(OPTIONS, epochs=2, batch=1, length=250)
    report = make_style(request_for(base, midi, tmp_path, adapter_only=True, training=training))
    rows = (tmp_path / "work" / "run" / "log.csv").read_text().splitlines()
    assert report["training"]["step"] > 0
    assert all("inf" not in row for row in rows)


def test_a_folder_that_is_no_style_is_not_replaced(base, midi, tmp_path):
    request = request_for(base, midi, tmp_path)
    request.output.mkdir(parents=True)
    (request.output / "precious.txt").write_text("x")
    with pytest.raises(BridgeError, match="exists and is no style bundle"):
        make_style(request)
    assert (request.output / "precious.txt").exists()


@pytest.mark.parametrize("where", ["onnx.save", "shutil.copytree", "save_adapter"])
def test_a_full_disk_leaves_what_was_trained(base, midi, tmp_path, monkeypatch, where):
    """The disk fills up at one place; told so, and run again with space, the style is made from there."""

    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    request = request_for(base, midi, tmp_path)
    with monkeypatch.context() as patch:
        if where == "onnx.save":
            patch.setattr("export.bundle.onnx.save", full)
        elif where == "shutil.copytree":
            patch.setattr("export.style.shutil.copytree", full)
        else:
            patch.setattr("plugin_bridge.files.Path.replace", full)
        with pytest.raises(BridgeError, match=r"(?i)space|full") as raised:
            make_style(request)
    assert "\n" not in str(raised.value)
    if where == "onnx.save":
        assert f"is kept in {request.work / 'run' / 'adapter'}" in str(raised.value)
    assert not request.output.exists()
    assert not list(tmp_path.rglob(".export-*"))
    report = make_style(request)
    assert load_style(request.output).name == "mine"
    assert report["training"]["step"] > 0


def test_killed_while_it_exports_it_goes_on(base, midi, tmp_path, monkeypatch):
    request = request_for(base, midi, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(module, "load_style", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            make_style(request)
    assert not request.output.exists()
    make_style(request)
    assert load_style(request.output).name == "mine"


def test_quantised_a_base_takes_adapters_too(tmp_path):
    """In 8 bits the base plays a style as near to the merged graph as 8 bits are."""
    quantised = load_base(str(make_bundle(tmp_path / "q", seed=5, as_base=True).folder))
    style = make_style_bundle(quantised, tmp_path / "styles" / "mine", precision="int8", quantised=False)
    (tmp_path / "styles" / "base").symlink_to(quantised.style.folder)
    tokens = np.random.default_rng(0).integers(3, 395, 120).tolist()
    plain, merged, shared = (
        Engine(each).extend_all(tokens, [0] * len(tokens))
        for each in (quantised.style, style, choose_style(f"{style.folder}=1"))
    )
    assert np.abs(shared - merged).max() < 0.1 * np.abs(shared - plain).max()
