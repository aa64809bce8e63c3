"""The picture of a duet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from plugin_bridge.errors import BridgeError
from plugin_bridge.music.chords import parse_chord
from plugin_bridge.music.clip import Beat, ChordSpan, Clip, Note
from plugin_bridge.music.events import Part, Pedal
from plugin_bridge.render.picture import COLOURS, draw_duet, pitch_range, row_spans


def image(path: Path) -> np.ndarray:
    """RGB of a PNG, [height, width, 3] in 0..1."""
    from matplotlib.image import imread

    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    return np.asarray(imread(path))[..., :3]


def near(pixels: np.ndarray, colour: str) -> int:
    wanted = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    return int((np.abs(pixels - wanted).max(axis=-1) < 0.04).sum())


def duet(seconds: int = 20, *, chords: bool = True, beats: bool = True) -> Clip:
    player = [Note(t, t + 0.5, 72 + t % 7, 127, Part.PLAYER) for t in range(seconds)]
    partner = [Note(t, min(t + 2, seconds), 48 + t % 5, 127, Part.PARTNER) for t in range(0, seconds, 2)]
    return Clip(
        tuple(sorted(player + partner)),
        (Pedal(1, True, Part.PLAYER), Pedal(3, False, Part.PLAYER)),
        tuple(ChordSpan(t, parse_chord("F#m7b5/C")) for t in range(0, seconds, 2)) if chords else (),
        tuple(Beat(t / 2, t % 4) for t in range(seconds * 2)) if beats else (),
    )


def test_both_parts_are_drawn_in_their_colours(tmp_path: Path) -> None:
    path = tmp_path / "duet.png"
    draw_duet(duet(), path, 'A title with $ and "quotes"')
    pixels = image(path)
    assert pixels.shape == (700, 1600, 3)
    roll = pixels[110:560]
    for part in Part:
        assert near(roll, COLOURS[part]) > 2000
        silent = duet().part(part.other)
        draw_duet(silent, path)
        assert near(image(path)[110:560], COLOURS[part]) == 0
    assert list(tmp_path.iterdir()) == [path]


def test_softer_notes_are_paler(tmp_path: Path) -> None:
    path = tmp_path / "one.png"

    def ink(velocity: int) -> float:
        draw_duet(Clip((Note(1, 9, 60, velocity, Part.PLAYER), Note(9, 10, 60, 127, Part.PARTNER))), path)
        blue = image(path)[110:560, 300:1200]
        return float((blue[..., 2] - blue[..., 0]).clip(0.1).sum())

    assert ink(20) < ink(70) < ink(120)


def test_chords_bars_and_pedals_leave_their_mark(tmp_path: Path) -> None:
    def drawn(clip: Clip) -> np.ndarray:
        draw_duet(clip, tmp_path / "p.png")
        return image(tmp_path / "p.png")

    plain = drawn(duet(chords=False, beats=False))
    above, inside = slice(60, 103), slice(104, 600)
    chords = drawn(duet(chords=True, beats=False))
    assert (chords[above] != plain[above]).any()
    assert (chords[inside] == plain[inside]).all()
    assert (drawn(duet(chords=False, beats=True))[inside] != plain[inside]).any()
    without_pedal = duet(chords=False, beats=False)
    without_pedal = Clip(without_pedal.notes)
    assert (drawn(without_pedal) != plain).any()


def test_the_same_clip_gives_the_same_picture(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        draw_duet(duet(), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_long_clips_wrap_into_rows(tmp_path: Path) -> None:
    draw_duet(duet(100), tmp_path / "long.png")
    pixels = image(tmp_path / "long.png")
    assert pixels.shape[0] > 1600
    assert pixels.shape[1] == 1600
    draw_duet(duet(59), tmp_path / "minute.png")
    assert image(tmp_path / "minute.png").shape == (700, 1600, 3)


@pytest.mark.parametrize("seconds", [1, 29, 31, 59, 60, 61, 100, 599])
@pytest.mark.parametrize("beats", [True, False])
def test_rows_cover_the_clip_and_break_at_bars(seconds: int, beats: bool) -> None:
    clip = duet(seconds, beats=beats)
    rows = row_spans(clip)
    assert rows[0][0] == 0
    assert rows[-1][1] >= clip.duration
    assert all(0 < end - start <= 30 for start, end in rows)
    assert all(rows[i][1] == rows[i + 1][0] for i in range(len(rows) - 1))
    if beats:
        bars = {beat.time for beat in clip.beats if beat.number == 0}
        assert all(start in bars for start, _ in rows)


def test_an_empty_clip_is_a_picture_too(tmp_path: Path) -> None:
    draw_duet(Clip(), tmp_path / "empty.png")
    assert image(tmp_path / "empty.png").shape == (700, 1600, 3)


def test_the_keyboard_shows_two_octaves_at_least_and_every_note() -> None:
    assert pitch_range(Clip((Note(0, 1, 60, 80),))) == (48, 72)
    low, high = pitch_range(Clip((Note(0, 1, 0, 80), Note(0, 1, 127, 80))))
    assert (low, high) == (0, 127)


def test_what_cannot_be_drawn_is_said(tmp_path: Path) -> None:
    with pytest.raises(BridgeError, match="too long to draw"):
        draw_duet(Clip((Note(0, 3600, 60, 80),)), tmp_path / "hour.png")
    with pytest.raises(BridgeError, match="no folder"):
        draw_duet(Clip(), tmp_path / "none" / "p.png")
    assert list(tmp_path.iterdir()) == []
