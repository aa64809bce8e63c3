"""Chord symbols as musicians write them."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugin_bridge.errors import BridgeError
from plugin_bridge.music.chords import QUALITIES, QUALITY_NAMES, Chord, parse_chord, parse_progression

ROOTS = [letter + sign for letter in "CDEFGAB" for sign in ("", "b", "#")]
TENSIONS = [
    "9", "11", "13", "b9", "#9", "#11", "b13", "b5", "#5", "add9", "add11", "add13", "alt",
]  # fmt: skip


def test_the_order_of_qualities_is_the_one_that_models_were_trained_on() -> None:
    assert QUALITY_NAMES == (
        "", "m", "dim", "aug", "sus2", "sus4", "6", "m6", "7", "maj7", "m7", "mmaj7", "m7b5", "dim7", "aug7",
        "augmaj7", "7sus4", "5",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("symbol", "classes"),
    [
        ("C", {0, 4, 7}),
        ("c", {0, 4, 7}),
        ("Dm", {2, 5, 9}),
        ("D-", {2, 5, 9}),
        ("Dmin", {2, 5, 9}),
        ("Bdim", {11, 2, 5}),
        ("Bo", {11, 2, 5}),
        ("B°", {11, 2, 5}),
        ("Caug", {0, 4, 8}),
        ("C+", {0, 4, 8}),
        ("Gsus", {7, 0, 2}),
        ("Gsus4", {7, 0, 2}),
        ("Gsus2", {7, 9, 2}),
        ("E5", {4, 11}),
        ("C6", {0, 4, 7, 9}),
        ("Cm6", {0, 3, 7, 9}),
        ("G7", {7, 11, 2, 5}),
        ("Cmaj7", {0, 4, 7, 11}),
        ("CM7", {0, 4, 7, 11}),
        ("Cma7", {0, 4, 7, 11}),
        ("C△7", {0, 4, 7, 11}),
        ("CmΔ", {0, 3, 7, 11}),
        ("Cma9", {0, 4, 7, 11, 2}),
        ("Cmadd9", {0, 3, 7, 2}),
        ("Cmadd11", {0, 3, 7, 5}),
        ("C^", {0, 4, 7, 11}),
        ("C^7", {0, 4, 7, 11}),
        ("CΔ", {0, 4, 7, 11}),
        ("Dm7", {2, 5, 9, 0}),
        ("D-7", {2, 5, 9, 0}),
        ("Cmmaj7", {0, 3, 7, 11}),
        ("CmMaj7", {0, 3, 7, 11}),
        ("Cm(maj7)", {0, 3, 7, 11}),
        ("Dm7b5", {2, 5, 8, 0}),
        ("Dm7(b5)", {2, 5, 8, 0}),
        ("Dø", {2, 5, 8, 0}),
        ("Dø7", {2, 5, 8, 0}),
        ("Bdim7", {11, 2, 5, 8}),
        ("Bo7", {11, 2, 5, 8}),
        ("G7sus4", {7, 0, 2, 5}),
        ("G7sus", {7, 0, 2, 5}),
        ("G9", {7, 11, 2, 5, 9}),
        ("Dm9", {2, 5, 9, 0, 4}),
        ("Cmaj9", {0, 4, 7, 11, 2}),
        ("G13", {7, 11, 2, 5, 4}),
        ("G7b9", {7, 11, 2, 5, 8}),
        ("G7(b9)", {7, 11, 2, 5, 8}),
        ("G7#9", {7, 11, 2, 5, 10}),
        ("G7#11", {7, 11, 2, 5, 1}),
        ("G7b5", {7, 11, 1, 5}),
        ("G7alt", {7, 11, 5, 8, 10, 1, 3}),
        ("Cadd9", {0, 4, 7, 2}),
        ("Cadd2", {0, 4, 7, 2}),
        ("Bb6/9", {10, 2, 5, 7, 0}),
        ("Bb69", {10, 2, 5, 7, 0}),
        ("F#/A#", {6, 10, 1}),
        ("C/D", {0, 4, 7, 2}),
        ("E♭", {3, 7, 10}),
        ("F♯m", {6, 9, 1}),
        ("C:min7/b3", {0, 3, 7, 10}),
        ("A:maj", {9, 1, 4}),
        ("C:hdim7", {0, 3, 6, 10}),
    ],
)
def test_symbols_sound_as_written(symbol: str, classes: set[int]) -> None:
    chord = parse_chord(symbol)
    assert chord is not None
    assert chord.pitch_classes == classes


@pytest.mark.parametrize(
    ("symbol", "bass"), [("F#/A#", 10), ("C/E", 4), ("C:maj/3", 4), ("A:min/b3", 0), ("C:maj/1", 0), ("G", 7)]
)
def test_the_bass_is_the_lowest_note(symbol: str, bass: int) -> None:
    chord = parse_chord(symbol)
    assert chord is not None
    assert chord.bass_class == bass


@pytest.mark.parametrize("symbol", ["N.C.", "NC", "n.c.", "N", "X", " N.C. "])
def test_no_chord(symbol: str) -> None:
    assert parse_chord(symbol) is None


@pytest.mark.parametrize("symbol", ["", "H", "Cfoo", "Verse", "Bridge", "C/X", "Cmaj7/", "C" * 40, "C 7 x"])
def test_what_is_no_chord_is_refused_by_name(symbol: str) -> None:
    with pytest.raises(BridgeError) as caught:
        parse_chord(symbol)
    assert repr(symbol) in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=40) | st.text("ABCDEFGmajdinsu#b♭♯°øΔ^+-0123456789/():,. ", max_size=12))
def test_any_text_is_a_chord_or_refused(text: str) -> None:
    try:
        chord = parse_chord(text)
    except BridgeError:
        return
    if chord is not None:
        assert chord.pitch_classes <= set(range(12))
        assert parse_chord(str(chord)) == chord


@pytest.mark.parametrize(("root", "quality"), list(itertools.product(ROOTS, QUALITIES)))
def test_every_root_and_quality_is_read_back_as_printed(root: str, quality: str) -> None:
    chord = Chord(root, quality)
    assert parse_chord(str(chord)) == chord
    assert parse_chord(str(Chord(root, quality, bass="Ab"))) == Chord(root, quality, bass="Ab")


@given(
    st.sampled_from(ROOTS),
    st.sampled_from([name for name in QUALITY_NAMES if name != "5"]),
    st.lists(st.sampled_from(TENSIONS), max_size=3, unique=True),
    st.none() | st.sampled_from(ROOTS),
)
def test_a_printed_chord_sounds_the_same_when_read(
    root: str, quality: str, tensions: list[str], bass: str | None
) -> None:
    chord = Chord(root, quality, tuple(tensions), bass)
    again = parse_chord(str(chord))
    assert again is not None
    assert again.root == root
    assert again.bass == bass
    assert again.pitch_classes == chord.pitch_classes


@given(
    st.sampled_from(ROOTS),
    st.sampled_from(QUALITY_NAMES),
    st.none() | st.sampled_from(ROOTS),
    st.integers(-30, 30),
)
def test_transposition_moves_every_note(root: str, quality: str, bass: str | None, steps: int) -> None:
    chord = Chord(root, quality, (), bass)
    moved = chord.transposed(steps)
    assert moved.pitch_classes == {(pitch + steps) % 12 for pitch in chord.pitch_classes}
    assert moved.bass_class == (chord.bass_class + steps) % 12
    assert moved.quality_id == chord.quality_id


def test_a_progression_is_read_with_bar_lines_and_commas() -> None:
    assert parse_progression("Cmaj7 | Dm7, G7 |N.C.|") == [
        Chord("C", "maj7"),
        Chord("D", "m7"),
        Chord("G", "7"),
        None,
    ]


@pytest.mark.parametrize("text", ["", "  ", "| , |"])
def test_an_empty_progression_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(BridgeError, match="Cmaj7"):
        parse_progression(text)
