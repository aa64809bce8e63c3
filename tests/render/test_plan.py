"""From inputs to jobs: names, seeds, keys, and everything that is known before work starts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from batches import DUET, write_duet, write_manifest

from plugin_bridge.errors import BridgeError
from plugin_bridge.music.clip import Clip, Note
from plugin_bridge.music.events import Part
from plugin_bridge.music.midi_file import read_midi, write_midi
from plugin_bridge.render.effects import BuiltInEffect
from plugin_bridge.render.jobs import Generated, MidiSource, job_key
from plugin_bridge.render.plan import make_plan
from plugin_bridge.render.renderer import clip_of
from plugin_bridge.render.settings import Output


def refused(path: Path, output: Output | None = None) -> str:
    with pytest.raises(BridgeError) as caught:
        make_plan([path], output)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_takes_are_named_by_their_seeds(tmp_path: Path) -> None:
    text = '[[clip]]\nname = "verse"\nseed = 5\ntakes = 3\n[[clip]]\nchords = "C"'
    plan = make_plan([write_manifest(tmp_path / "pack.toml", text)])
    assert [job.name for job in plan.jobs] == ["verse-s5", "verse-s6", "verse-s7", "clip-002"]
    assert [job.source.seed for job in plan.jobs if isinstance(job.source, Generated)] == [5, 6, 7, 0]
    assert len({job.key for job in plan.jobs}) == 4


def test_a_folder_is_all_its_midi_with_the_folders_in_the_names(tmp_path: Path) -> None:
    (tmp_path / "songs" / "old").mkdir(parents=True)
    for name in ("b.mid", "a.MID", "old/a.mid"):
        write_duet(tmp_path / "songs" / name)
    (tmp_path / "songs" / "notes.txt").write_text("no music")
    plan = make_plan([tmp_path / "songs"])
    assert [job.name for job in plan.jobs] == ["a", "b", "old-a"]


def test_what_sounds_the_same_has_the_same_key_wherever_it_lies(tmp_path: Path) -> None:
    [here] = make_plan([write_duet(tmp_path / "here.mid")]).jobs
    [there] = make_plan([write_duet(tmp_path / "there.mid")]).jobs
    assert here.key == there.key


@pytest.mark.parametrize(
    "changed",
    [Output(formats=("flac",)), Output(sample_rate=48000), Output(loudness=None), Output(tail=1.0),
     Output(stems=True)],
)  # fmt: skip
def test_another_setting_is_another_key(tmp_path: Path, changed: Output) -> None:
    [job] = make_plan([write_duet(tmp_path / "a.mid")]).jobs
    assert job_key(replace(job, output=changed)) != job.key
    assert job_key(replace(job, effects=())) != job.key


def test_a_plugin_that_was_updated_is_another_key(tmp_path: Path, synth: Path) -> None:
    import shutil

    from plugin_bridge.render import jobs

    copy = tmp_path / "Synth.vst3"
    shutil.copytree(synth, copy)
    midi = write_duet(tmp_path / "a.mid")
    [before] = make_plan([midi], instrument=str(copy)).jobs
    (copy / "Contents" / "new.txt").write_text("an update")
    jobs.bundle_state.cache_clear()
    [after] = make_plan([midi], instrument=str(copy)).jobs
    assert before.key != after.key


def test_files_of_a_manifest_are_sought_beside_it(tmp_path: Path) -> None:
    write_duet(tmp_path / "lead.mid")
    (tmp_path / "dry.toml").write_text('[[effect]]\ntype = "Gain"')
    text = '[[clip]]\nmidi = "lead.mid"\neffects = "dry.toml"\n[[clip]]\nprompt = "lead.mid"\nbars = 1'
    first, second = make_plan([write_manifest(tmp_path / "pack.toml", text)]).jobs
    assert first.source == MidiSource(tmp_path / "lead.mid")
    assert first.effects == (BuiltInEffect("Gain"),)
    assert isinstance(second.source, Generated) and second.source.prompt == tmp_path / "lead.mid"


def test_two_rows_of_one_name_are_refused_also_in_other_letters(tmp_path: Path) -> None:
    path = write_manifest(tmp_path / "pack.toml", '[[clip]]\nname = "Take"\n[[clip]]\nname = "take"')
    assert "row 2, name: 'take' is written by" in refused(path)
    assert "row 1 too" in refused(path)


def test_a_clip_may_not_be_called_like_a_stem_of_another(tmp_path: Path) -> None:
    path = write_manifest(tmp_path / "pack.toml", '[[clip]]\nname = "a"\n[[clip]]\nname = "a.player"')
    assert len(make_plan([path]).jobs) == 2
    assert "row 2, name: 'a.player' is written by" in refused(path, Output(stems=True))


def test_the_same_file_twice_is_refused(tmp_path: Path) -> None:
    midi = write_duet(tmp_path / "a.mid")
    with pytest.raises(BridgeError, match="'a' is written by"):
        make_plan([midi, midi])


@pytest.mark.parametrize(
    ("row", "about"),
    [
        ('style = "nobody"', "row 1, style: there is no style 'nobody'"),
        ('prompt = "none.mid"', "row 1, prompt: "),
        ('instrument = "No Such Synth"', "row 1, instrument: plugin: there is no 'No Such Synth'"),
        ('instrument = "none.sf2"', "row 1, instrument: there is no SoundFont"),
        ('preset = "x.vstpreset"', "row 1, preset: the built-in piano has no presets"),
        ('effects = "none.toml"', "row 1, effects: "),
        ("bars = 2000\ntempo = 60", "row 1, bars: last 8000 s; a clip may last 1800 s"),
    ],
)
def test_what_cannot_be_is_named_by_row_and_key(tmp_path: Path, row: str, about: str) -> None:
    assert about in refused(write_manifest(tmp_path / "pack.toml", f"[[clip]]\n{row}\n"))


def test_inputs_that_are_nothing_are_refused(tmp_path: Path) -> None:
    (tmp_path / "song.doc").write_text("no")
    (tmp_path / "empty").mkdir()
    assert "there is no such file or folder" in refused(tmp_path / "none.mid")
    assert "neither MIDI (.mid) nor a manifest" in refused(tmp_path / "song.doc")
    assert "has no MIDI file in it" in refused(tmp_path / "empty")


def test_midi_that_cannot_be_used_is_told_and_the_rest_is_planned(tmp_path: Path) -> None:
    songs = tmp_path / "songs"
    songs.mkdir()
    write_duet(songs / "good.mid")
    write_duet(songs / "empty.mid", Clip())
    write_duet(songs / "long.mid", Clip((Note(3 * 3600.0, 3 * 3600.0 + 1, 60, 80),)))
    (songs / "broken.mid").write_bytes(b"MThd but no more")
    plan = make_plan([songs])
    assert [job.name for job in plan.jobs] == ["good"]
    reasons = {failure.name: failure.reason for failure in plan.failures}
    assert "has no notes" in reasons["empty"]
    assert "lasts 3 h 00 min, and a clip may last 30 min" in reasons["long"]
    assert "not a readable MIDI file" in reasons["broken"]


def test_a_file_of_ours_keeps_its_two_parts(tmp_path: Path) -> None:
    write_midi(DUET, tmp_path / "duet.mid")
    clip = clip_of(read_midi(tmp_path / "duet.mid"))
    assert len(clip.part(Part.PLAYER).notes) == 2 == len(clip.part(Part.PARTNER).notes)
    assert {pedal.part for pedal in clip.pedals} == {Part.PARTNER}
