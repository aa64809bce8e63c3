"""Preparation reads what people have, skips what is of no use and says why, and leaves nothing by halves."""

from __future__ import annotations

import json
import random
import re
import zipfile

import mido
import numpy as np
import pytest
from made_pieces import PROGRESSION, Inline, duet_clip, write_pieces

from model.arrangement import FEWEST_NOTES, read_piece
from model.dataset import Prepared
from model.prepare import prepare, recording_of, split_of
from plugin_bridge.errors import BridgeError
from plugin_bridge.music import tokens as codec
from plugin_bridge.music.chords import parse_chord
from plugin_bridge.music.clip import Note, clip_from_events
from plugin_bridge.music.events import Part
from plugin_bridge.music.harmony import NO_ROOT
from plugin_bridge.music.midi_file import write_midi


def run(inputs, output, **options):
    return prepare([inputs] if not isinstance(inputs, list) else inputs, output, executor=Inline(), **options)


def pieces_of(folder):
    prepared = Prepared(folder)
    found = [piece for split in ("train", "valid", "test") for piece in prepared.split(split)]
    return {piece.name: piece for piece in found}


def zipped(path, folder):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder))
    return path


def write_tracks(path, tracks, *, channel=None, tempo=500_000):
    """A type 1 file: `tracks` maps names to lists of (beat, length in beats, pitch, velocity)."""
    midi = mido.MidiFile(type=1, ticks_per_beat=480)
    midi.tracks.append(mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=tempo)]))
    for index, (name, notes) in enumerate(tracks.items()):
        played = index if channel is None else channel
        messages = []
        for beat, length, pitch, velocity in notes:
            on = mido.Message("note_on", channel=played, note=pitch, velocity=velocity)
            off = mido.Message("note_off", channel=played, note=pitch)
            messages += [(beat * 480, 1, on), ((beat + length) * 480, 0, off)]
        track, now = mido.MidiTrack([mido.MetaMessage("track_name", name=name)]), 0
        for tick, _, message in sorted(messages, key=lambda entry: entry[:2]):
            track.append(message.copy(time=round(tick) - now))
            now = round(tick)
        midi.tracks.append(track)
    midi.save(path)
    return path


def line(low, count=20, gap=1.0, length=0.9):
    """A single line of `count` notes from pitch `low` up and down, played with a hand's velocities."""
    return [(i * gap, length, low + i % 7, 40 + 5 * (i % 12)) for i in range(count)]


# what can be read


def test_a_folder_and_a_zip_of_it_give_the_same_music(tmp_path):
    midi = write_pieces(tmp_path / "midi" / "deep" / "er", ["one", "two"])
    archive = zipped(tmp_path / "pack.zip", tmp_path / "midi")
    run(tmp_path / "midi", tmp_path / "a")
    run(archive, tmp_path / "b")
    from_folder, from_zip = pieces_of(tmp_path / "a"), pieces_of(tmp_path / "b")
    assert from_folder.keys() == from_zip.keys() == {"one", "two"}
    for name, piece in from_folder.items():
        assert np.array_equal(piece.tokens, from_zip[name].tokens)
        assert np.array_equal(piece.chords, from_zip[name].chords)
        assert (piece.source, from_zip[name].source) == ("midi", "pack")
    assert midi.exists()


def test_the_notes_come_through_on_the_grid(tmp_path):
    clip = duet_clip()
    write_midi(clip, tmp_path / "a.mid")
    run(tmp_path / "a.mid", tmp_path / "out")
    piece = pieces_of(tmp_path / "out")["a"]
    stored = clip_from_events(codec.events_from_rows(codec.decode(piece.tokens)))

    def ticks(notes):
        return sorted((codec.tick_of(n.start), codec.tick_of(n.end), n.pitch, n.part) for n in notes)

    assert ticks(stored.notes) == ticks(clip.notes)
    roots = [NO_ROOT if c == "N.C." else parse_chord(c).root_class for c in PROGRESSION]
    assert piece.chords["root"].tolist() == [roots[bar % 6] for bar in range(8)]
    assert piece.beats["number"][:6].tolist() == [0, 1, 2, 3, 0, 1]
    np.testing.assert_allclose(np.diff(piece.beats["time"]), 0.5, atol=1e-3)


@pytest.mark.parametrize("name", ["a.mid", "a.MID", "a.midi", "a.Midi", "a.MIDI", "a.kar", "a.smf"])
def test_every_usual_ending_is_read(tmp_path, name):
    (tmp_path / "in").mkdir()
    write_midi(duet_clip(), tmp_path / "in" / name)
    assert run(tmp_path / "in", tmp_path / "out").pieces == 1


def test_single_files_and_several_inputs_go_together(tmp_path):
    midi = write_pieces(tmp_path / "midi", ["a", "b", "c"])
    archive = zipped(tmp_path / "pack.ZIP", write_pieces(tmp_path / "more", "xyz", bars=9))
    summary = run([midi / "b.mid", archive], tmp_path / "out", licences={"pack": "CC0"})
    assert summary.by_source == {"midi": 1, "pack": 3}
    licences = {name: row["licence"] for name, row in Prepared(tmp_path / "out").sources.items()}
    assert licences == {"midi": "not stated", "pack": "CC0"}


def test_worker_processes_give_what_one_process_gives(tmp_path):
    midi = write_pieces(tmp_path / "midi", "abcd")
    run(midi, tmp_path / "one")
    prepare([midi], tmp_path / "many")
    one, many = (json.loads((tmp_path / name / "index.json").read_text()) for name in ("one", "many"))
    assert one == many


# sidecars


def test_chords_beside_the_file_win_over_its_markers(tmp_path):
    write_midi(duet_clip(), tmp_path / "a.mid")
    (tmp_path / "a.chords.txt").write_text(
        "0.0 2.0 Eb:maj\n2.0 4.0 N\n4.0 9.0 Ab:min7/b3\n", encoding="utf-8"
    )
    chords = read_piece(tmp_path / "a.mid", "a").chords
    assert [(c.start, c.chord and c.chord.root_class) for c in chords] == [(0.0, 3), (2.0, None), (4.0, 8)]


@pytest.mark.parametrize("columns", [("sec", "chord"), ("second", "label")])
def test_a_table_of_chords_is_read(tmp_path, columns):
    write_midi(duet_clip(), tmp_path / "a.mid")
    table = "\t".join(("bar", *columns)) + "\n1\t0.0\tF\n2\t2.0\tF\n3\t4.0\tBb7\n"
    (tmp_path / "a.chords.tsv").write_text(table, encoding="utf-8")
    chords = read_piece(tmp_path / "a.mid", "a").chords
    assert [(c.start, str(c.chord)) for c in chords] == [(0.0, "F"), (4.0, "Bb7")], "a repeat is one chord"


def test_beats_beside_the_file_are_read(tmp_path):
    write_midi(duet_clip(), tmp_path / "a.mid")
    rows = [f"{0.7 * i:.2f} {int(i % 3 == 2)}" for i in range(20)]
    (tmp_path / "a.beats.txt").write_text("\n".join(rows), encoding="utf-8")
    beats = read_piece(tmp_path / "a.mid", "a").beats
    assert [b.number for b in beats[:7]] == [1, 2, 0, 1, 2, 0, 1]
    assert {b.beats_in_bar for b in beats} == {3}
    np.testing.assert_allclose(np.diff([b.time for b in beats]), 0.7, atol=1e-6)


def test_sidecars_in_a_zip_are_read(tmp_path):
    midi = write_pieces(tmp_path / "midi", ["a"])
    (midi / "a.chords.txt").write_text("0 4 B\n", encoding="utf-8")
    run(zipped(tmp_path / "pack.zip", midi), tmp_path / "out")
    assert pieces_of(tmp_path / "out")["a"].chords["root"].tolist() == [11]


SIDECARS = {
    "chords of a longer piece": ("chords.txt", "0 2 C\n300 302 F\n", "reach 300 s but the music ends at 16"),
    "chords that begin too late": ("chords.txt", "20 22 C\n", "reach 20 s"),
    "no time": ("chords.txt", "soon 2 C\n", "'soon' is not a time"),
    "infinite time": ("chords.txt", "0 1 C\ninf inf F\n", "'inf' is not a time"),
    "beats that are words": ("beats.txt", "one two\n", "beside it cannot be read"),
    "beats in one column": ("beats.txt", "0.0\n0.5\n", "downbeat column"),
    "beats not in order": ("beats.txt", "0 1\n2 0\n1 0\n3 1\n4 1\n", "beats .*order"),
    "beats that are no numbers": ("beats.txt", "0 1\nnan 0\n1 1\n2 1\n", "beats .*order"),
    "a table with an endless field": (
        "chords.tsv",
        "sec\tchord\n0\t" + "C" * 200_000,
        "cannot be read",
    ),
}


@pytest.mark.parametrize("what", SIDECARS)
def test_a_sidecar_that_does_not_fit_skips_its_piece_only(tmp_path, what):
    ending, content, reason = SIDECARS[what]
    midi = write_pieces(tmp_path / "midi", ["bad", "good"])
    (midi / f"bad.{ending}").write_text(content, encoding="utf-8")
    summary = run(midi, tmp_path / "out")
    assert summary.pieces == 1
    ((name, told),) = summary.skipped
    assert name == "bad.mid"
    assert "\n" not in told
    assert re.search(reason, told), told


def test_an_unreadable_symbol_in_a_sidecar_stands_for_no_chord(tmp_path):
    write_midi(duet_clip(), tmp_path / "a.mid")
    (tmp_path / "a.chords.txt").write_text("0 2 C\n2 4 ???\n4 6 G\n", encoding="utf-8")
    assert [c.chord and str(c.chord) for c in read_piece(tmp_path / "a.mid", "a").chords] == ["C", None, "G"]


# what is of no use


def test_useless_files_are_skipped_each_with_its_reason(tmp_path):
    midi = write_pieces(tmp_path / "midi", ["good"])
    write_tracks(midi / "drums.mid", {"kit": line(36)}, channel=9)
    write_tracks(midi / "short.mid", {"piano": line(60, 3)})
    write_tracks(midi / "silent.mid", {"piano": []})
    (midi / "broken.mid").write_bytes(b"MThd\0\0\0\6\0\1\0\1\1\xe0MTrk\0\0\0\xff\0\x90")
    (midi / "text.mid").write_text("not midi at all", encoding="utf-8")
    (midi / "empty.mid").write_bytes(b"")
    (midi / "twin.mid").write_bytes((midi / "good.mid").read_bytes())
    (midi / "notes.txt").write_text("no music", encoding="utf-8")
    summary = run(midi, tmp_path / "out")
    reasons = dict(summary.skipped)
    assert summary.pieces == 1
    assert reasons.keys() == {
        f"{n}.mid" for n in ("drums", "short", "silent", "broken", "text", "empty", "twin")
    }
    assert "only drums" in reasons["drums.mid"]
    assert "only 3 notes" in reasons["short.mid"]
    assert "no notes at all" in reasons["silent.mid"]
    assert "same music" in reasons["twin.mid"]
    for name in ("broken", "text", "empty"):
        assert "not a readable MIDI file" in reasons[f"{name}.mid"]
    assert not any("\n" in reason or str(tmp_path) in reason for reason in reasons.values())


def test_as_few_notes_as_a_piece_needs(tmp_path):
    assert (
        read_piece(write_tracks(tmp_path / "a.mid", {"x": line(60, FEWEST_NOTES)}), "a").notes == FEWEST_NOTES
    )
    with pytest.raises(BridgeError, match=f"at least {FEWEST_NOTES}"):
        read_piece(write_tracks(tmp_path / "b.mid", {"x": line(60, FEWEST_NOTES - 1)}), "b")


def test_drums_are_left_out_of_a_piece(tmp_path):
    path = write_tracks(tmp_path / "a.mid", {"piano": line(60)})
    midi = mido.MidiFile(path)
    midi.tracks.append(mido.MidiTrack(
        mido.Message("note_on" if i % 2 == 0 else "note_off", channel=9, note=36, time=60) for i in range(80)
    ))  # fmt: skip
    midi.save(path)
    piece = read_piece(path, "a")
    assert piece.notes == 20
    assert 36 not in codec.decode(piece.tokens)["value"]


def test_nothing_usable_is_an_error_that_gives_the_first_reason(tmp_path):
    (tmp_path / "in").mkdir()
    with pytest.raises(BridgeError, match="no usable MIDI file among 0"):
        run(tmp_path / "in", tmp_path / "out")
    (tmp_path / "in" / "a.mid").write_text("x", encoding="utf-8")
    with pytest.raises(BridgeError, match=r"among 1 .*not a readable MIDI file"):
        run(tmp_path / "in", tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in"], "no half-written folder"


def test_missing_inputs_are_named(tmp_path):
    with pytest.raises(BridgeError, match=r"nowhere.*no such file or folder"):
        run(tmp_path / "nowhere", tmp_path / "out")


def test_excluded_files_are_left_out_wherever_they_lie(tmp_path):
    midi = write_pieces(tmp_path / "midi", "abc")
    archive = zipped(tmp_path / "pack.zip", write_pieces(tmp_path / "more", "bxy", bars=9))
    summary = run([midi, archive], tmp_path / "out", exclude=frozenset({"some/folder/b.mid", "x.mid"}))
    assert pieces_of(tmp_path / "out").keys() == {"a", "c", "y"}
    assert summary.skipped == ()


# zips


def test_a_file_that_only_claims_to_be_a_zip_is_refused(tmp_path):
    (tmp_path / "pack.zip").write_text("no zip", encoding="utf-8")
    with pytest.raises(BridgeError, match=r"pack\.zip: not a readable zip"):
        run(tmp_path / "pack.zip", tmp_path / "out")


@pytest.mark.parametrize("seed", range(6))
def test_a_damaged_zip_is_refused(tmp_path, seed):
    archive = zipped(tmp_path / "pack.zip", write_pieces(tmp_path / "midi", "ab"))
    data = bytearray(archive.read_bytes())
    rng = random.Random(seed)
    for at in rng.sample(range(60, 300), 20):  # within the first member's compressed music
        data[at] ^= 0xFF
    archive.write_bytes(data)
    with pytest.raises(BridgeError, match=r"pack\.zip: not a readable zip"):
        run(archive, tmp_path / "out")


def test_names_in_a_zip_cannot_lead_out_of_it(tmp_path):
    music = write_pieces(tmp_path / "midi", ["a", "b"])
    work = tmp_path / "deep" / "work"
    work.mkdir(parents=True)
    with zipfile.ZipFile(work / "pack.zip", "w") as archive:
        archive.writestr("../../../../escaped.mid", (music / "a.mid").read_bytes())
        archive.writestr(f"{tmp_path}/absolute.mid", (music / "b.mid").read_bytes())
    before = set(tmp_path.rglob("*"))
    summary = run(work / "pack.zip", work / "out")
    assert summary.pieces == 2, "the music is read, inside"
    created = set(tmp_path.rglob("*")) - before
    assert all(p.is_relative_to(work / "out") for p in created)
    assert not (tmp_path.parent / "escaped.mid").exists()


def test_a_zip_whose_names_are_in_each_others_way_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "pack.zip", "w") as archive:
        archive.writestr("a.mid", b"x")
        archive.writestr("a.mid/b.mid", b"x")
    with pytest.raises(BridgeError, match="could not be unpacked"):
        run(tmp_path / "pack.zip", tmp_path / "out")


# splits


def test_a_recording_is_on_one_side_only():
    for names in (
        ["Rec_clip_1", "rec_clip_22", "REC_CLIP3"],
        ["sonata_mov1", "sonata_mov_2", "sonata"],
        ["x_part3", "x_pt_4"],
    ):
        assert len({recording_of(name) for name in names}) == 1
        assert len({split_of(name, 0.3, 0.3) for name in names}) == 1
    assert recording_of("study_no_3") != recording_of("study_no_4")


def test_the_split_is_stable_and_of_the_wanted_size():
    names = [f"piece {i}" for i in range(4000)]
    sides = [split_of(name, 0.1, 0.2) for name in names]
    assert 0.08 < sides.count("valid") / 4000 < 0.12
    assert 0.17 < sides.count("test") / 4000 < 0.23
    assert [split_of(name) for name in ("a", "b", "recital_clip_3")] == ["train", "train", "train"]
    assert split_of("piece 1", 1.0, 0.0) == "valid"
    assert split_of("piece 1", 0.0, 0.0) == "train"


def splits(folder):
    return {piece.name: name for name in ("train", "valid", "test") for piece in Prepared(folder).split(name)}


def test_more_pieces_move_none_to_another_side(tmp_path):
    few = [f"piece{i}" for i in range(20)]
    run(write_pieces(tmp_path / "few", few, 3), tmp_path / "a", held_out=(0.3, 0.2))
    run(write_pieces(tmp_path / "many", [*few, "z1", "z2", "z3"], 3), tmp_path / "b", held_out=(0.3, 0.2))
    before, after = splits(tmp_path / "a"), splits(tmp_path / "b")
    assert set(before.values()) == {"train", "valid", "test"}
    assert all(after[name] == side for name, side in before.items())


def test_of_few_pieces_a_whole_recording_is_held_out(tmp_path):
    names = ["take_clip_1", "take_clip_2", "other", "work_clip_1", "work_clip_2"]
    summary = run(write_pieces(tmp_path / "midi", names), tmp_path / "out", held_out=(0.0, 0.0))
    assert summary.by_split == {"train": 3, "valid": 2}
    assert [name for name, side in splits(tmp_path / "out").items() if side == "valid"] == names[3:]


@pytest.mark.parametrize("held_out", [(1.0, 0.0), (0.0, 1.0), (0.5, 0.5)])
def test_something_is_always_left_to_train_on(tmp_path, held_out):
    summary = run(write_pieces(tmp_path / "midi", ["only"]), tmp_path / "out", held_out=held_out)
    assert summary.by_split == {"train": 1}
    assert len(Prepared(tmp_path / "out").split("train")) == 1


# the output


def test_the_summary_counts_what_is_there(tmp_path):
    midi = write_pieces(tmp_path / "midi", "abcde", bars=6)
    write_tracks(midi / "short.mid", {"piano": line(60, 3)})
    summary = run(midi, tmp_path / "out")
    pieces = pieces_of(tmp_path / "out")
    assert summary.pieces == len(pieces) == 5
    assert summary.notes == 5 * 6 * 7
    assert summary.tokens == sum(len(piece.tokens) for piece in pieces.values())
    assert summary.hours == pytest.approx(5 * 12 / 3600, abs=0.01)
    assert sum(summary.by_split.values()) == 5
    assert summary.skipped == (("short.mid", summary.skipped[0][1]),)
    index = json.loads((tmp_path / "out" / "index.json").read_text(encoding="utf-8"))
    assert index["summary"]["notes"] == summary.notes


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_second_run_gives_the_same_bytes(tmp_path):
    midi = write_pieces(tmp_path / "midi", "abc")
    run(midi, tmp_path / "out")
    first = contents(tmp_path / "out")
    run(midi, tmp_path / "out")
    assert contents(tmp_path / "out") == first
    assert sorted(p.name for p in tmp_path.iterdir()) == ["midi", "out"]


def test_an_older_folder_is_replaced_only_by_a_complete_one(tmp_path):
    run(write_pieces(tmp_path / "midi", "ab"), tmp_path / "out")
    first = contents(tmp_path / "out")

    def breaks_off(results, total):
        yield next(iter(results))
        raise KeyboardInterrupt

    more = write_pieces(tmp_path / "more", "xyz", bars=9)
    with pytest.raises(KeyboardInterrupt):
        run(more, tmp_path / "out", progress=breaks_off)
    (tmp_path / "none").mkdir()
    with pytest.raises(BridgeError):
        run(tmp_path / "none", tmp_path / "out")
    assert contents(tmp_path / "out") == first
    run(more, tmp_path / "out")
    assert pieces_of(tmp_path / "out").keys() == set("xyz")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["midi", "more", "none", "out"]


def test_progress_sees_every_file(tmp_path):
    seen = []

    def watch(results, total):
        for result in results:
            seen.append(total)
            yield result

    run(write_pieces(tmp_path / "midi", "abc"), tmp_path / "out", progress=watch)
    assert seen == [3, 3, 3]


def test_a_folder_of_something_else_is_not_overwritten(tmp_path):
    midi = write_pieces(tmp_path / "midi", "ab")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"cat")
    with pytest.raises(BridgeError, match="no prepared folder"):
        run(midi, tmp_path / "photos")
    with pytest.raises(BridgeError, match="no prepared folder"):
        run(midi, tmp_path / "photos" / "cat.jpg")
    assert (tmp_path / "photos" / "cat.jpg").read_bytes() == b"cat"
    (tmp_path / "empty").mkdir()
    assert run(midi, tmp_path / "empty").pieces == 2


def test_many_pieces_go_into_several_shards(tmp_path, monkeypatch):
    monkeypatch.setattr("model.prepare._SHARD_TOKENS", 500)
    midi = write_pieces(tmp_path / "midi", "abcdef")
    run(midi, tmp_path / "sharded")
    monkeypatch.undo()
    run(midi, tmp_path / "whole")
    assert len(list((tmp_path / "sharded").glob("shard-*"))) > 2
    assert len(list((tmp_path / "whole").glob("shard-*"))) == 1
    sharded, whole = pieces_of(tmp_path / "sharded"), pieces_of(tmp_path / "whole")
    for name, piece in whole.items():
        for field in ("tokens", "beats", "chords"):
            assert np.array_equal(getattr(piece, field), getattr(sharded[name], field))


# how parts are dealt


def parts_of(piece):
    rows = codec.decode(piece.tokens)
    on = rows[rows["kind"] == 3]
    return {part: sorted(set(on["value"][on["part"] == part].tolist())) for part in Part}


def test_a_track_named_as_melody_is_the_players(tmp_path):
    path = write_tracks(tmp_path / "a.mid", {"Strings": line(80), "Lead Vocal": line(60), "Bass": line(36)})
    piece = read_piece(path, "a")
    assert piece.dealt == "tracks"
    assert parts_of(piece)[Part.PLAYER] == list(range(60, 67))


def test_without_a_name_the_highest_track_is_the_players(tmp_path):
    piece = read_piece(write_tracks(tmp_path / "a.mid", {"x": line(50), "y": line(72)}), "a")
    assert parts_of(piece)[Part.PLAYER] == list(range(72, 79))


def test_one_track_is_split_where_its_hands_part(tmp_path):
    piece = read_piece(write_tracks(tmp_path / "a.mid", {"piano": line(40) + line(70)}), "a")
    assert piece.dealt == "pitch"
    assert max(parts_of(piece)[Part.PARTNER]) < min(parts_of(piece)[Part.PLAYER])


def test_a_single_line_stays_whole_and_is_the_partners(tmp_path):
    piece = read_piece(write_tracks(tmp_path / "a.mid", {"flute": line(70)}), "a")
    assert piece.dealt == "solo"
    assert parts_of(piece)[Part.PLAYER] == []


def test_a_score_has_no_touch_and_a_performance_has(tmp_path):
    flat = [(at, length, pitch, 64) for at, length, pitch, _ in line(70)]
    assert not read_piece(write_tracks(tmp_path / "a.mid", {"x": flat}), "a").has_touch
    assert read_piece(write_tracks(tmp_path / "b.mid", {"x": line(70)}), "b").has_touch


def test_a_recording_off_the_beat_has_no_beats(tmp_path):
    """Played freely at the default tempo: the file's beats tell nothing of the music's."""
    rng = np.random.default_rng(0)
    free = [(float(at), 0.2, 60 + i % 5, 50 + i) for i, at in enumerate(np.sort(rng.uniform(0, 60, 70)))]
    assert read_piece(write_tracks(tmp_path / "free.mid", {"x": free}), "free").beats == ()
    assert read_piece(write_tracks(tmp_path / "strict.mid", {"x": line(60)}), "strict").beats


def test_music_begins_at_its_bar(tmp_path):
    """Four bars of silence are left out; an upbeat keeps its place in the bar."""
    clip = duet_clip(8).shifted(8.0)
    upbeat = Note(9.5, 9.9, 90, 70, Part.PLAYER)
    kept = tuple(n for n in clip.notes if n.start >= 10.0)
    write_midi(type(clip)((upbeat, *kept), beats=clip.beats), tmp_path / "a.mid")
    piece = read_piece(tmp_path / "a.mid", "a")
    first = int(codec.decode(piece.tokens)["tick"][0])
    assert first == 150
    assert any(b.number == 0 and abs(b.time) < 1e-6 for b in piece.beats)


# a cluster


def test_the_workers_of_a_cluster_prepare_the_same(tmp_path):
    from distributed import LocalCluster

    midi = write_pieces(tmp_path / "midi", [f"p{i}" for i in range(12)])
    (midi / "broken.mid").write_bytes(b"MThd nonsense")
    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1", processes=True
    ) as cluster:
        there = prepare([midi], tmp_path / "there", cluster=cluster.scheduler_address)
    here = prepare([midi], tmp_path / "here", executor=Inline())
    assert there == here
    assert [name for name, _ in there.skipped] == ["broken.mid"]
    for path in (tmp_path / "here").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "there" / path.relative_to(tmp_path / "here")).read_bytes()


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense://x", "127.0.0.1:notaport"])
def test_a_cluster_that_is_not_there_is_one_line(tmp_path, address):
    midi = write_pieces(tmp_path / "midi", ["a", "b", "c"])
    with pytest.raises(BridgeError) as raised:
        prepare([midi], tmp_path / "out", cluster=address)
    assert address in str(raised.value)
    assert not (tmp_path / "out").exists()
