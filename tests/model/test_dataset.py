"""Views, variations and crops keep the music; every batch is a function of its number."""

from __future__ import annotations

import json
import shutil
from dataclasses import fields, replace
from itertools import pairwise

import numpy as np
import pytest
from made_pieces import Inline, duet_clip, source_of, write_pieces

from model.dataset import (
    PLAN_LENGTH,
    Prepared,
    Variation,
    build,
    build_pool,
    concatenate,
    crop_batch,
    training_batches,
    views_of,
)
from model.prepare import prepare
from plugin_bridge.errors import BridgeError
from plugin_bridge.music import tokens as codec
from plugin_bridge.music import vocabulary as v
from plugin_bridge.music.clip import Note, clip_from_events
from plugin_bridge.music.events import Part, Pedal
from plugin_bridge.music.harmony import NO_QUALITY, NO_ROOT

VIEWS = ("duet", "swap", "solo", "trade")


def clip_of(example):
    """What an example's tokens play; nothing in it may be invalid."""
    decoder = codec.Decoder()
    events = [event for token in example.tokens.tolist() if (event := decoder.push(token)) is not None]
    assert decoder.invalid == 0
    assert not decoder.held, "every note must end"
    return clip_from_events(events)


def keys_of(clip, *, stretch=1.0, semitones=0, parts=True):
    """Notes as sorted (start tick, end tick, pitch, part), what they should be after a variation."""
    return sorted(
        (
            round(codec.tick_of(n.start) * stretch),
            round(codec.tick_of(n.end) * stretch),
            n.pitch + semitones,
            n.part if parts else 0,
        )
        for n in clip.notes
    )


@pytest.fixture
def clip():
    return duet_clip()


# views and variations


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_keeps_every_note(clip, view):
    built = clip_of(build(source_of(clip), Variation(view)))
    assert keys_of(built, parts=False) == keys_of(clip, parts=False)
    assert len(built.pedals) == len(clip.pedals)


def test_the_views_deal_the_parts(clip):
    played = {view: clip_of(build(source_of(clip), Variation(view))) for view in VIEWS}
    assert keys_of(played["duet"]) == keys_of(clip)
    swapped = replace(clip, notes=tuple(replace(n, part=n.part.other) for n in clip.notes))
    assert keys_of(played["swap"]) == keys_of(swapped)
    assert {p.part for p in played["swap"].pedals} == {Part.PLAYER}
    assert {n.part for n in played["solo"].notes} == {Part.PARTNER}
    assert {n.part for n in played["trade"].notes} == set(Part)


def test_trading_goes_in_turns_of_2_to_10_seconds(clip):
    notes = clip_of(build(source_of(duet_clip(bars=40)), Variation("trade", trade_seed=3))).notes
    changes = [b.start for a, b in pairwise(notes) if a.part is not b.part]
    lengths = np.diff(changes)
    assert len(changes) >= 5
    assert lengths.min() >= 2.0 - 0.5
    assert lengths.max() <= 10.0 + 0.5
    other = clip_of(build(source_of(duet_clip(bars=40)), Variation("trade", trade_seed=4))).notes
    assert [n.part for n in notes] != [n.part for n in other]


def test_a_traded_pedal_is_released_by_the_part_that_pressed_it():
    for seed in range(20):
        pedals = clip_of(build(source_of(duet_clip(bars=40)), Variation("trade", trade_seed=seed))).pedals
        assert {p.part for p in pedals} == set(Part)
        for part in Part:
            states = [p.down for p in pedals if p.part is part]
            assert states == [True, False] * (len(states) // 2)


def test_a_single_line_is_only_ever_the_partners_or_traded(clip):
    assert views_of(source_of(clip, dealt="solo")) == ("solo", "trade")
    assert views_of(source_of(clip, dealt="pitch")) == VIEWS


def test_one_key_struck_by_both_parts_becomes_one_note_after_another():
    clip = duet_clip(1)
    both = (Note(0.0, 1.0, 60, 80, Part.PLAYER), Note(0.5, 1.5, 60, 70, Part.PARTNER))
    built = clip_of(build(source_of(replace(clip, notes=both)), Variation("solo")))
    assert [(n.start, n.end) for n in built.notes] == [(0.0, 0.5), (0.5, 1.5)]


@pytest.mark.parametrize("semitones", [-5, -1, 1, 6])
def test_transposition_moves_notes_and_chords_alike(clip, semitones):
    source = source_of(clip)
    example = build(source, Variation(semitones=semitones))
    assert keys_of(clip_of(example)) == keys_of(clip, semitones=semitones)
    for field in ("root", "bass"):
        known = source.chords[field] != NO_ROOT
        assert 0 < known.sum() < len(known)
        assert (
            example.chords[field][known] == (source.chords[field][known].astype(int) + semitones) % 12
        ).all()
        assert (example.chords[field][~known] == NO_ROOT).all()
    assert (example.chords["quality"] == source.chords["quality"]).all()


def test_transposition_that_would_leave_the_keyboard_goes_the_other_way(clip):
    high = replace(clip, notes=tuple(replace(n, pitch=n.pitch + 36) for n in clip.notes))
    example = build(source_of(high), Variation(semitones=6))
    assert keys_of(clip_of(example)) == keys_of(high, semitones=-6)
    roots = source_of(high).chords["root"]
    known = roots != NO_ROOT
    assert (example.chords["root"][known] == (roots[known] + 6) % 12).all()


def test_transposition_that_fits_in_no_direction_is_left_out(clip):
    wide = replace(clip, notes=(*clip.notes, Note(0.0, 1.0, 5, 60), Note(0.0, 1.0, 125, 60)))
    built = clip_of(build(source_of(wide), Variation(semitones=4)))
    assert keys_of(built) == keys_of(wide)


@pytest.mark.parametrize("stretch", [0.9, 1.07, 1.1])
def test_stretch_scales_notes_beats_and_chords(clip, stretch):
    source = source_of(clip)
    plain, slow = build(source, Variation()), build(source, Variation(stretch=stretch))
    assert keys_of(clip_of(slow)) == keys_of(clip, stretch=stretch)
    np.testing.assert_allclose(slow.chords["start"], source.chords["start"] * stretch)
    for before, after in ((plain.metre, slow.metre), (plain.pointer, slow.pointer)):
        note_on_before = before[is_note_on(plain.tokens)]
        note_on_after = after[is_note_on(slow.tokens)]
        assert note_on_before.tolist() == note_on_after.tolist(), "each note keeps its place in bar and plan"


def is_note_on(tokens):
    return (tokens >= v.NOTE_ON_BASE) & (tokens < v.NOTE_OFF_BASE)


def test_velocity_moves_in_steps_and_stays_in_range(clip):
    plain = clip_of(build(source_of(clip), Variation()))
    loud = clip_of(build(source_of(clip), Variation(velocity_steps=3)))
    louder = [(v.velocity_bin(a.velocity), v.velocity_bin(b.velocity)) for a, b in
              zip(plain.notes, loud.notes, strict=True)]  # fmt: skip
    assert all(after == min(before + 3, v.VELOCITY_BINS - 1) for before, after in louder)


def test_building_changes_nothing_of_what_is_stored(clip):
    source = source_of(clip)
    copy = source_of(clip)
    build(source, Variation("swap", 3, 1.1, 2))
    for field in ("tokens", "beats", "chords"):
        assert (getattr(source, field) == getattr(copy, field)).all()


def test_a_written_piece_has_no_velocities_and_says_so(clip):
    example = build(source_of(clip, has_touch=False), Variation(velocity_steps=2))
    assert (example.tokens < v.VELOCITY_BASE).all()
    assert not example.touch.any()
    assert build(source_of(clip), Variation()).touch.all()


def test_pieces_without_notes_chords_or_beats_can_be_built():
    bare = duet_clip(4, chords=False, beats=False)
    example = build(source_of(bare), Variation("trade", 3, 1.1))
    assert (example.pointer == -1).all()
    assert (example.metre == 0).all()
    silent = build(source_of(replace(bare, notes=(), pedals=())), Variation("trade", 3))
    assert silent.tokens.tolist() == [v.BOS, v.EOS]


# what goes with each token


def test_metre_and_pointer_tell_of_the_time_after_each_token(clip):
    example = build(source_of(clip), Variation())
    seconds = codec.ticks(example.tokens) * v.TICK_SECONDS
    assert (example.pointer == np.floor(seconds / 2.0 + 1e-6).clip(max=7)).all()
    on_grid = np.isclose(seconds * 8, np.round(seconds * 8))
    sixteenths = np.round(seconds * 8).astype(int) % 16 + 1
    assert on_grid.sum() > 50
    assert (example.metre[on_grid] == sixteenths[on_grid]).all()
    assert example.tokens[0] == v.BOS
    assert example.tokens[-1] == v.EOS


def test_a_chord_written_a_hair_late_still_counts_from_its_beat(clip):
    late = replace(clip, chords=tuple(replace(c, start=c.start + 0.004) for c in clip.chords))
    on_time, a_hair_late = (build(source_of(c), Variation()).pointer for c in (clip, late))
    assert on_time.tolist() == a_hair_late.tolist()


def test_before_the_first_chord_there_is_none(clip):
    late = replace(clip, chords=clip.chords[2:])
    example = build(source_of(late), Variation())
    seconds = codec.ticks(example.tokens) * v.TICK_SECONDS
    assert (example.pointer[seconds < 3.9] == -1).all()
    assert (example.pointer[seconds > 4.1] >= 0).all()


@pytest.mark.parametrize("view", VIEWS)
def test_each_token_belongs_to_the_part_whose_event_it_leads_to(clip, view):
    example = build(source_of(clip), Variation(view))
    decoder = codec.Decoder()
    waiting, checked = [], 0
    for index, token in enumerate(example.tokens.tolist()[:-1]):
        waiting.append(index)
        event = decoder.push(token)
        if event is not None:
            assert (example.owner[waiting] == event.part).all()
            checked += len(waiting)
            waiting = []
    assert checked == len(example.tokens) - 1


# pools


def flat(pool):
    return [getattr(pool, field.name) for field in fields(pool)]


def equal(one, other):
    return all(np.array_equal(a, b) for a, b in zip(flat(one), flat(other), strict=True))


@pytest.fixture(scope="module")
def sources():
    return [source_of(duet_clip(8 + i, i), f"piece{i}", source="ab"[i % 2]) for i in range(6)]


def test_a_pool_is_a_function_of_seed_and_epoch(sources):
    assert equal(build_pool(sources, 1, 2), build_pool(sources, 1, 2))
    assert not equal(build_pool(sources, 1, 2), build_pool(sources, 1, 3))
    assert not equal(build_pool(sources, 1, 2), build_pool(sources, 2, 2))


def test_batches_are_a_function_of_seed_epoch_and_number(sources):
    def batches(seed, epoch):
        return list(training_batches(build_pool(sources, seed, epoch), seed, epoch, 3, 50, 0.3))

    one, again = batches(4, 0), batches(4, 0)
    assert len(one) == len(again) > 5
    assert all(equal(a, b) for a, b in zip(one, again, strict=True))
    assert not equal(one[0], one[1])
    assert not equal(one[0], batches(4, 1)[0])
    assert not equal(one[0], batches(5, 0)[0])


def test_an_epoch_deals_every_stretch_of_the_pool_at_most_once(sources):
    pool = build_pool(sources, 0, 0)
    numbered = replace(pool, tokens=np.arange(len(pool.tokens)).astype(np.uint16))
    seen = np.concatenate([b.tokens.ravel() for b in training_batches(numbered, 0, 0, 2, 40, 0.3)])
    assert len(np.unique(seen)) == len(seen)
    assert len(seen) > len(pool.tokens) - 4 * 40


def notes_in(pool):
    return int(is_note_on(pool.tokens).sum())


def test_the_mix_says_how_often_a_source_comes(sources):
    a, b = (notes_in(build_pool([s for s in sources if s.source == name], 0, 0)) for name in "ab")
    assert notes_in(build_pool(sources, 0, 0)) == a + b
    assert notes_in(build_pool(sources, 0, 0, {"a": 3.0})) == 3 * a + b
    assert notes_in(build_pool(sources, 0, 0, {"a": 0.0})) == b
    assert notes_in(build_pool(sources, 0, 0, {"of another run": 5.0})) == a + b


def test_a_fraction_in_the_mix_is_a_probability():
    many = [source_of(duet_clip(1, i)) for i in range(200)]
    whole, half = (notes_in(build_pool(many, 0, 0, {"made": share})) for share in (1.0, 0.5))
    assert 0.35 < half / whole < 0.65


def test_a_mix_of_nothing_is_refused(sources):
    with pytest.raises(BridgeError, match="mix"):
        build_pool(sources, 0, 0, {"a": 0.0, "b": 0.0})
    with pytest.raises(BridgeError, match="mix"):
        build_pool(sources, 0, 0, {"a": -1.0})


def test_without_augmentation_the_notes_are_as_they_were(sources):
    pool = build_pool(sources, 0, 0, vary="never")
    pitches = sorted(pool.tokens[is_note_on(pool.tokens)].tolist())
    stored = [token for s in sources for token in s.tokens[is_note_on(s.tokens)].tolist()]
    assert pitches == sorted(stored)


# crops


def sounding(pool, index):
    """Root, quality and bass of the chord at a pool's token, None where there is none."""
    pointer = pool.pointer[index]
    return None if pointer < 0 else tuple(pool.chords[pointer].tolist()[1:])


def crops(pool, starts, length=60, mode=0, known=True):
    count = len(starts)
    return crop_batch(
        pool, np.array(starts), length, 0.3, np.full(count, mode), np.full(count, known)
    )  # fmt: skip


def test_pointers_of_a_crop_point_at_the_chord_that_sounds(sources):
    bare = source_of(duet_clip(6, 9, chords=False))
    pool = concatenate(
        [build(s, Variation("duet", i)) for i, s in enumerate([*sources[:3], bare, *sources[3:]])]
    )
    starts = list(range(0, len(pool.tokens) - 201, 37))
    batch = crops(pool, starts, 200)
    named = without = 0
    for row, start in enumerate(starts):
        for i in range(200):
            pointer, chord = batch.pointer[row, i], sounding(pool, start + i)
            if chord is None:
                assert pointer == -1
                without += 1
            else:
                assert tuple(batch.chords[:, row, pointer]) == chord
                named += 1
    assert named > 1000
    assert without > 100


def test_no_piece_sees_the_chords_of_the_next(sources):
    pool = concatenate([build(source, Variation()) for source in sources[:2]])
    last = int(np.flatnonzero(pool.tokens == v.EOS)[0])
    batch = crops(pool, [last - 30])
    pointer = batch.pointer[0, 30]
    assert (batch.chords[0, 0, pointer + 1 : pointer + 12] == NO_ROOT).all()
    following = batch.pointer[0, 31]
    assert (batch.chords[1, 0, following - 4 : following] == NO_QUALITY).all()


def test_plan_modes_show_all_the_present_or_nothing(sources):
    pool = concatenate([build(sources[0], Variation())])
    whole, now, none = (crops(pool, [40], mode=mode) for mode in range(3))
    assert whole.horizon.tolist() == [11]
    assert now.horizon.tolist() == [0]
    assert (now.pointer == whole.pointer).all()
    assert (whole.pointer >= 0).any()
    assert (none.pointer == -1).all()


def test_unknown_metre_is_told_as_unknown(sources):
    pool = concatenate([build(sources[0], Variation())])
    assert crops(pool, [0], known=True).metre.any()
    assert not crops(pool, [0], known=False).metre.any()


def test_targets_are_the_next_tokens_and_weights_their_owners(sources):
    pool = concatenate([build(sources[0], Variation("duet"))])
    batch = crops(pool, [10])
    assert (batch.targets[0] == pool.tokens[11:71]).all()
    assert (batch.tokens[0] == pool.tokens[10:70]).all()
    owner = pool.owner[11:71]
    assert set(owner.tolist()) == {0, 1}
    assert (batch.weight[0] == np.where(owner == Part.PARTNER, np.float32(1), np.float32(0.3))).all()


def test_a_crop_with_more_chords_than_a_plan_holds_drops_the_last_pointers():
    """Chords every tenth of a second: past the plan's end a token sees none, never a wrong one."""
    fast = duet_clip(20)
    chords = tuple(replace(fast.chords[i % 4], start=i * 0.1) for i in range(400))
    pool = concatenate([build(source_of(replace(fast, chords=chords)), Variation())])
    length = len(pool.tokens) - 1
    batch = crops(pool, [0], length)
    shown = batch.pointer[0] >= 0
    assert 0 < shown.sum() < length
    assert batch.pointer.max() < PLAN_LENGTH - 11
    for i in np.flatnonzero(shown):
        assert tuple(batch.chords[:, 0, batch.pointer[0, i]]) == sounding(pool, i)


def test_a_pool_without_any_chords_makes_crops_without_plan():
    pool = concatenate([build(source_of(duet_clip(6, chords=False, beats=False)), Variation())])
    batch = crops(pool, [0, 5])
    assert (batch.pointer == -1).all()
    assert (batch.chords[0] == NO_ROOT).all()
    assert (batch.chords[1] == NO_QUALITY).all()


def test_pedals_of_a_view_stay_pairs():
    clip = duet_clip(8)
    for view in ("duet", "swap", "solo"):
        pedals = clip_of(build(source_of(clip), Variation(view))).pedals
        assert [p.down for p in pedals] == [True, False] * 8
        assert all(isinstance(p, Pedal) for p in pedals)


# prepared folders


@pytest.fixture(scope="module")
def whole_folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("prepared")
    prepare([write_pieces(root / "midi", "abcd")], root / "data", executor=Inline())
    return root / "data"


@pytest.fixture
def folder(whole_folder, tmp_path):
    return shutil.copytree(whole_folder, tmp_path / "data")


def test_a_prepared_folder_gives_its_pieces_in_the_same_order_each_time(folder):
    prepared = Prepared(folder)
    pieces = prepared.split("train") + prepared.split("valid") + prepared.split("test")
    assert sorted(piece.name for piece in pieces) == list("abcd")
    assert [p.name for p in prepared.split("train")] == [p.name for p in Prepared(folder).split("train")]
    for piece in pieces:
        example = build(piece, Variation())
        assert len(clip_of(example).notes) == 8 * 7
        assert len(piece.chords) == 8


def test_pieces_without_chords_and_beats_go_through_a_prepared_folder(tmp_path):
    midi = write_pieces(tmp_path / "midi", "abc", chords=False, played=True)
    (midi / "a.beats.txt").write_text("0.0 1\n", encoding="utf-8")  # too few to be of use
    prepare([midi], tmp_path / "data", executor=Inline())
    pool = build_pool(Prepared(tmp_path / "data").split("train"), 0, 0)
    assert (pool.pointer == -1).all()
    assert len(pool.chords) == 0


def edit_index(folder, change):
    path = folder / "index.json"
    index = json.loads(path.read_text(encoding="utf-8"))
    change(index)
    path.write_text(json.dumps(index), encoding="utf-8")


DAMAGE = {
    "no index": lambda f: (f / "index.json").unlink(),
    "index cut short": lambda f: (f / "index.json").write_text("{", encoding="utf-8"),
    "index of another kind": lambda f: (f / "index.json").write_text("[]", encoding="utf-8"),
    "index not text": lambda f: (f / "index.json").write_bytes(b"\xff\xfe\x00"),
    "no pieces": lambda f: edit_index(f, lambda i: i.pop("pieces")),
    "no shard number": lambda f: edit_index(f, lambda i: i["pieces"][0].pop("shard")),
    "no split": lambda f: edit_index(f, lambda i: i["pieces"][0].pop("split")),
    "no sources": lambda f: edit_index(f, lambda i: i.pop("sources")),
    "range past the end": lambda f: edit_index(f, lambda i: i["pieces"][-1].update(tokens=[0, 10**7])),
    "another format": lambda f: edit_index(f, lambda i: i.update(format=99)),
    "another vocabulary": lambda f: edit_index(f, lambda i: i.update(vocabulary="0" * 16)),
    "other chord qualities": lambda f: edit_index(f, lambda i: i.update(qualities=["maj"])),
    "shard gone": lambda f: shutil.rmtree(f / "shard-000"),
    "array gone": lambda f: (f / "shard-000" / "beats.npy").unlink(),
    "array cut short": lambda f: truncate(f / "shard-000" / "tokens.npy", 200),
    "array empty": lambda f: truncate(f / "shard-000" / "chords.npy", 0),
    "array a pickle": lambda f: np.save(
        f / "shard-000" / "tokens.npy", np.array([{}], object), allow_pickle=True
    ),
    "array of another type": lambda f: np.save(f / "shard-000" / "beats.npy", np.zeros(9, "U4")),
}


def truncate(path, size):
    path.write_bytes(path.read_bytes()[:size])


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_and_foreign_folders_are_refused_with_one_line(folder, damage):
    DAMAGE[damage](folder)
    with pytest.raises(BridgeError) as raised:
        prepared = Prepared(folder)
        for split in ("train", "valid", "test"):
            prepared.split(split)
    message = str(raised.value)
    assert message.startswith(f"{folder}: ")
    assert "\n" not in message


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(BridgeError, match="is not a prepared folder"):
        Prepared(tmp_path / "nowhere")
