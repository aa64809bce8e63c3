"""Token ids are fixed: checkpoints and bundles depend on each of them."""

from __future__ import annotations

import pytest

from plugin_bridge.music import vocabulary as v
from plugin_bridge.music.vocabulary import Kind


def test_the_vocabulary_is_the_one_that_models_were_trained_on() -> None:
    assert v.VERSION == 1
    assert v.SIZE == 395
    assert v.fingerprint() == "4fa297ad8681f84b"


def test_every_token_has_a_name_of_its_own() -> None:
    assert len({v.name(token) for token in range(v.SIZE)}) == v.SIZE


@pytest.mark.parametrize(
    ("token", "name"),
    [
        (v.PAD, "pad"),
        (v.BOS, "bos"),
        (v.EOS, "eos"),
        (3, "part:0"),
        (4, "part:1"),
        (5, "pedal:0"),
        (6, "pedal:1"),
        (7 + 60, "note_on:60"),
        (135 + 60, "note_off:60"),
        (263, "shift:1"),
        (362, "shift:100"),
        (363, "velocity:0"),
        (394, "velocity:31"),
    ],
)
def test_ids_mean_what_they_meant(token: int, name: str) -> None:
    assert v.name(token) == name


@pytest.mark.parametrize("token", [-1, v.SIZE, 10_000])
def test_what_is_no_token_is_refused(token: int) -> None:
    with pytest.raises(ValueError, match="not in the vocabulary"):
        v.kind(token)


def test_kinds_split_the_ids_without_gaps() -> None:
    sizes = dict.fromkeys(Kind, 0)
    for token in range(v.SIZE):
        sizes[v.kind(token)[0]] += 1
    assert sizes == {
        Kind.SPECIAL: 3,
        Kind.PART: 2,
        Kind.PEDAL: 2,
        Kind.NOTE_ON: 128,
        Kind.NOTE_OFF: 128,
        Kind.SHIFT: 100,
        Kind.VELOCITY: 32,
    }


def test_velocity_bins_cover_all_velocities_and_round_trip() -> None:
    assert {v.velocity_bin(velocity) for velocity in range(1, 128)} == set(range(v.VELOCITY_BINS))
    for index in range(v.VELOCITY_BINS):
        assert 1 <= v.bin_velocity(index) <= 127
        assert v.velocity_bin(v.bin_velocity(index)) == index
    assert all(abs(v.bin_velocity(v.velocity_bin(velocity)) - velocity) <= 2 for velocity in range(1, 128))


def test_the_fingerprint_follows_the_meaning_of_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    before = v.fingerprint()
    monkeypatch.setattr(v, "TICK_SECONDS", 0.02)
    assert v.fingerprint() != before
