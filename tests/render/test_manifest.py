"""What manifests, chains and presets may say, and how what is wrong with them is named."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugin_bridge.errors import BridgeError
from plugin_bridge.render.effects import (
    DEFAULT_CHAIN,
    EFFECTS,
    BuiltInEffect,
    build,
    choose_effects,
    parse_effects,
)
from plugin_bridge.render.instruments import class_of_preset, read_parameters
from plugin_bridge.render.manifest import KEYS, is_file_name, key_table, parse_csv, parse_toml, read_manifest

TOML, CSV, CHAIN = Path("pack.toml"), Path("pack.csv"), Path("chain.toml")


def refused(parse: Callable[[], object]) -> str:
    with pytest.raises(BridgeError) as caught:
        parse()
    return str(caught.value)


def test_a_row_of_toml_says_what_to_play() -> None:
    [row] = parse_toml('[[clip]]\nchords = "Dm7 G7"\ntempo = 96\nseeds = "1-3 7"\nstyle = "base"', TOML)
    assert row.where == "pack.toml: row 1"
    assert row.values == {"chords": "Dm7 G7", "tempo": 96.0, "seeds": (1, 2, 3, 7), "style": "base"}


def test_a_row_of_csv_says_the_same() -> None:
    [row] = parse_csv('chords,tempo,seeds,style,takes\nDm7 G7,96,"1-3 7",base,\n', CSV)
    assert row.values == {"chords": "Dm7 G7", "tempo": 96.0, "seeds": (1, 2, 3, 7), "style": "base"}


def test_defaults_fill_what_a_row_leaves_open() -> None:
    defaults = "[defaults]\ntempo = 90\nseeds = [4, 5]\n"
    text = defaults + '[[clip]]\n[[clip]]\ntempo = 80\ntakes = 2\n[[clip]]\nmidi = "a.mid"'
    first, second, third = (row.values for row in parse_toml(text, TOML))
    assert first == {"tempo": 90.0, "seeds": (4, 5)}
    assert second == {"tempo": 80.0, "takes": 2}
    assert third == {"midi": "a.mid"}


@pytest.mark.parametrize(
    ("text", "about"),
    [
        ('[[clip]]\ntempi = 1', "pack.toml: row 1, tempi: is not a key; there are name, midi, chords"),
        ('[[clip]]\n[[clip]]\nchords = "Cmaj7 H7"', "pack.toml: row 2, chords: "),
        ("[[clip]]\ntempo = 1000", "row 1, tempo: 1000 is out of range, 20 to 400"),
        ("[[clip]]\nbars = 1.5", "row 1, bars: 1.5 is not a whole number"),
        ("[[clip]]\ntempo = true", "row 1, tempo: True is not a number"),
        ("[[clip]]\ntempo = nan", "row 1, tempo: nan is not a number"),
        ('[[clip]]\nseeds = "9-3"', "row 1, seeds: '9-3' runs backwards"),
        ("[[clip]]\nseeds = [1, 1]", "row 1, seeds: "),
        ("[[clip]]\nseeds = [1]\ntakes = 3", "row 1, takes: does not go with seeds"),
        ('[[clip]]\nmidi = "a.mid"\nbars = 3', "row 1, bars: does not go with midi"),
        ('[[clip]]\nname = "../../etc/passwd"', "row 1, name: "),
        ('[[clip]]\nname = "nul"', "row 1, name: "),
        ('[defaults]\nname = "a"\n[[clip]]', "pack.toml: defaults, name: belongs to one clip"),
        ("[clip]\ntempo = 3", "pack.toml: clips are written as [[clip]]"),
        ("[[clips]]", "pack.toml: 'clips' is not known"),
        ("", "pack.toml: has no clips"),
        ("[[clip", "pack.toml: is not TOML"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_toml_is_named_by_row_and_key(text: str, about: str) -> None:
    message = refused(lambda: parse_toml(text, TOML))
    assert about in message
    assert "\n" not in message


def test_a_chord_in_row_17_is_named() -> None:
    rows = ["chords,bars", *["Dm7 G7,4"] * 16, "Dm7 Xyz,4", "C,4"]
    assert refused(lambda: parse_csv("\n".join(rows), CSV)).startswith("pack.csv: row 17, chords: ")


@pytest.mark.parametrize(
    ("text", "about"),
    [
        ("chords,tempi\nC,1", "pack.csv: column 'tempi' is not known"),
        ("chords,chords\nC,C", "the first line must name each column once"),
        ("chords\nC,2", "pack.csv: row 1 (line 2): has more cells"),
        ('chords\n"C', "is not CSV"),
        ("", "must name each column once"),
        ("chords\n\n", "has no clips"),
    ],
)
def test_what_is_wrong_in_csv_is_named(text: str, about: str) -> None:
    assert about in refused(lambda: parse_csv(text, CSV))


def test_a_manifest_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert "none.toml: cannot be read" in refused(lambda: read_manifest(tmp_path / "none.toml"))
    (tmp_path / "odd.csv").write_bytes(b"\xff\xfe\x00")
    assert "odd.csv: cannot be read (it is not UTF-8)" in refused(lambda: read_manifest(tmp_path / "odd.csv"))


@given(st.text(max_size=300))
def test_any_text_is_a_manifest_or_refused(text: str) -> None:
    for parse, path in ((parse_toml, TOML), (parse_csv, CSV)):
        try:
            rows = parse(text, path)
        except BridgeError as error:
            assert str(error).startswith(str(path))
        else:
            assert rows


@given(
    st.dictionaries(st.sampled_from(list(KEYS)), st.text(max_size=12) | st.integers().map(str), min_size=1)
)
def test_any_cells_are_read_or_refused_by_row_and_key(cells: dict[str, str]) -> None:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(cells))
    writer.writeheader()
    writer.writerow(cells)
    try:
        parse_csv(buffer.getvalue(), CSV)
    except BridgeError as error:
        assert str(error).startswith(("pack.csv: row 1", "pack.csv: line", "pack.csv: has no clips"))


@given(st.text(max_size=20))
def test_names_of_files_stay_in_their_folder(name: str) -> None:
    if is_file_name(name):
        assert (Path("out") / f"{name}.wav").parent == Path("out")
        assert Path(name).name == name


def test_the_documentation_has_the_table_of_keys() -> None:
    assert key_table() in (Path(__file__).parents[2] / "docs" / "render.md").read_text(encoding="utf-8")


def test_a_chain_is_effects_in_their_order() -> None:
    chain = parse_effects('[[effect]]\ntype = "Gain"\ngain_db = -3\n[[effect]]\ntype = "Reverb"', CHAIN)
    assert chain == (BuiltInEffect("Gain", (("gain_db", -3.0),)), BuiltInEffect("Reverb"))


@pytest.mark.parametrize(
    ("text", "about"),
    [
        (
            '[[effect]]\ntype = "Reverb"\nroom_size = 2',
            "chain.toml: effect 1, room_size: 2 is out of range, 0 to 1",
        ),
        (
            '[[effect]]\ntype = "Reverb"\nsize = 0.2',
            "effect 1, size: Reverb has no such parameter; it has room_size",
        ),
        ('[[effect]]\ntype = "Reverb"\nroom_size = "big"', "effect 1, room_size: 'big' is not a number"),
        ('[[effect]]\ntype = "Rverb"', "effect 1, type: there is no 'Rverb'"),
        ("[[effect]]\nroom_size = 1", "effect 1: give either type"),
        ('[[effect]]\nplugin = "No Such Plugin"', "effect 1, plugin: there is no 'No Such Plugin'"),
        ('[[effects]]\ntype = "Gain"', "'effects' is not known"),
        ("[effect]", "with double brackets"),
    ],
)
def test_what_is_wrong_in_a_chain_is_named(text: str, about: str) -> None:
    assert about in refused(lambda: parse_effects(text, CHAIN))


@given(st.text(max_size=200))
def test_any_text_is_a_chain_or_refused(text: str) -> None:
    try:
        parse_effects(text, CHAIN)
    except BridgeError as error:
        assert str(error).startswith("chain.toml")


@pytest.mark.parametrize("kind", EFFECTS)
def test_every_effect_of_the_table_takes_both_ends_of_every_range(kind: str) -> None:
    for end in (0, 1):
        build(BuiltInEffect(kind, tuple((name, span[end]) for name, span in EFFECTS[kind].items())))


def test_the_default_chain_keeps_to_the_ranges() -> None:
    for effect in DEFAULT_CHAIN:
        assert isinstance(effect, BuiltInEffect)
        for name, value in effect.parameters:
            low, high, _ = EFFECTS[effect.kind][name]
            assert low <= value <= high
    assert choose_effects("default", Path()) == DEFAULT_CHAIN
    assert choose_effects("none", Path()) == ()


@given(st.binary(max_size=80))
def test_any_bytes_are_a_preset_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("preset") / "any.vstpreset"
    path.write_bytes(data)
    try:
        assert len(class_of_preset(path)) == 32
    except BridgeError as error:
        assert "is not a VST3 preset" in str(error)


@given(st.text(max_size=120))
def test_any_text_is_a_parameter_file_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("parameters") / "any.toml"
    path.write_text(text, encoding="utf-8")
    try:
        read_parameters(path)
    except BridgeError as error:
        assert str(error).startswith(str(path))
