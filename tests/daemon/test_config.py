"""The configuration: every error names file, line and key, and what is shown can be read again."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugin_bridge.daemon.config import (
    KEYS,
    Config,
    changes,
    control_value,
    parse_config,
    read_config,
    show_config,
    toml,
)
from plugin_bridge.daemon.toml_lines import line_of
from plugin_bridge.duet.controls import TABLE, Kind
from plugin_bridge.errors import BridgeError

FILE = Path("config.toml")


def parse(text: str) -> Config:
    return parse_config(text, FILE)


def test_nothing_is_the_defaults(tmp_path: Path) -> None:
    assert parse("") == Config() == read_config(tmp_path / "none.toml")


def test_what_is_set_is_set() -> None:
    config = parse(
        'style = "mine=0.5,base=0.5"\n[controls]\nmode = "comp"\nmute = true\ntemperature = 1\n'
        "[api]\nport = 0\n"
    )
    assert config.get("", "style") == "mine=0.5,base=0.5"
    assert config.get("api", "port") == 0
    controls = config.start_controls()
    assert (controls.mode.value, controls.mute, controls.temperature) == ("comp", True, 1.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('\n\nstile = "x"', "config.toml:3: stile: there is no such key; here there are style,"),
        ("tempo = 1000", "config.toml:1: tempo: must be a number from 20 to 400"),
        ("tempo = nan", "config.toml:1: tempo: must be a number from 20 to 400"),
        ("tempo = true", "config.toml:1: tempo: must be a number from 20 to 400"),
        (
            "[api]\n# a remark\nport = 70000",
            "config.toml:3: api.port: must be a whole number from 0 to 65535",
        ),
        ("[api]\nport = 1.5", "config.toml:2: api.port: must be a whole number"),
        ("api.port = -1", "config.toml:1: api.port: must be"),
        ('api = "x"', "config.toml:1: api: must be a table, [api]"),
        ("[api]\nhost = 1", "config.toml:2: api.host: there is no such key; here there are port"),
        ('[log]\nlevel = "loud"', "config.toml:2: log.level: must be one of debug, info, warning, error"),
        ('styles = [\n  "base",\n  3,\n]', "config.toml:1: styles: must be a text"),
        ('tempo = 120\n\nchords = "Hm7"', "config.toml:3: chords: must be chords such as"),
        (
            "[controls]\n\ntemperature = 9",
            "config.toml:3: controls.temperature: temperature 9 must be 0 to 2",
        ),
        ('[controls]\nmode = "loud"', "config.toml:2: controls.mode: mode 'loud' must be answer,"),
        ("[controls]\nmode = 1", "config.toml:2: controls.mode: mode 1 must be answer,"),
        ("[controls]\nvolume = 1", "config.toml:2: controls.volume: there is no control 'volume'"),
        ("[controls]\npanic = true", "config.toml:2: controls.panic: is no setting"),
        ("controls = 3", "config.toml:1: controls: must be a table"),
        ("style = ", "config.toml:1: Invalid value"),
        ('style = "a"\nstyle = "b"', "config.toml:2: Cannot overwrite a value"),
        ('style = "a"\n\n[', "config.toml:3:"),
    ],
)
def test_what_is_wrong_is_named_by_file_line_and_key(text: str, message: str) -> None:
    with pytest.raises(BridgeError) as caught:
        parse(text)
    assert str(caught.value).startswith(message)


def test_the_line_of_a_key_is_found_where_texts_look_like_keys() -> None:
    text = 'a = """\nb = 1\n"""\n\n[t]\n# b = 2\nx = [\n 1,\n 2,\n]\n"b" = 3\n'
    assert line_of(text, ("t", "b")) == 11
    assert line_of(text, ("t", "x")) == 7
    assert line_of(text, ("none",)) == 1


@pytest.mark.parametrize(
    "text", ["[" * 5000, "a = " + "[" * 5000, "x" * 70_000, "\x00", "a = 1" + "0" * 5000]
)
def test_nonsense_is_one_line(text: str) -> None:
    with pytest.raises(BridgeError, match=r"config\.toml:\d+: "):
        parse(text)


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_bytes(b"style = \xff")
    with pytest.raises(BridgeError, match=r"c\.toml: is not UTF-8"):
        read_config(tmp_path / "c.toml")


def test_the_defaults_shown_are_the_defaults() -> None:
    shown = show_config(Config())
    assert parse(shown) == Config()
    for key in KEYS:
        assert key.what in shown
    for row in TABLE:
        assert (f"\n# {row.name} = " in shown) == (row.kind is not Kind.TRIGGER)


_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.text(max_size=200))
def test_any_text_is_a_configuration_or_one_line(text: str) -> None:
    try:
        config = parse(text)
    except BridgeError as error:
        assert str(error).startswith("config.toml:")
    else:
        assert parse(show_config(config)) == config


_KNOWN = [key.path for key in KEYS] + [("controls", row.name) for row in TABLE] + [("x",), ("api", "y")]
_TOML = st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.lists(st.text(max_size=9))


@given(st.dictionaries(st.sampled_from(_KNOWN), _TOML, max_size=6))
def test_any_values_are_a_configuration_or_one_line_that_names_the_key(
    values: dict[tuple[str, ...], Any],
) -> None:
    lines = [f"{'.'.join(path)} = {toml(value)}" for path, value in values.items()]
    try:
        config = parse("\n".join(lines))
    except BridgeError as error:
        number, name = str(error).split(":")[1:3]
        assert lines[int(number) - 1].startswith(f"{name.strip()} = ")
    else:
        assert parse(show_config(config)) == config
        config.start_controls()


@given(st.text())
def test_a_text_is_written_as_toml_reads_it(text: str) -> None:
    if not any(0xD800 <= ord(each) < 0xE000 for each in text):
        assert tomllib.loads(f"a = {toml(text)}") == {"a": text}


@given(st.sampled_from(TABLE), _VALUES)
def test_any_value_for_a_control_is_in_its_range_or_refused(row: Any, value: Any) -> None:
    try:
        number = control_value(row.name, value)
    except BridgeError as error:
        assert row.name in str(error)
    else:
        assert row.low <= number <= row.high


def test_changes_are_live_or_wait_for_a_restart() -> None:
    after = parse('style = "mine"\n[controls]\ngrid = 1\n[api]\nport = 5\n')
    change = changes(Config(), after)
    assert change.live == ("style", "controls.grid")
    assert change.at_restart == ("api.port",)
