"""The contact sheet: one HTML page with a picture and a player for every clip.

The page asks the network for nothing: style, script and pictures are in it. The sound is played from the
files beside it, or, where it shall travel alone, is in it too, compressed.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from plugin_bridge.files import atomic_path
from plugin_bridge.render.encoding import decode, encode
from plugin_bridge.render.plan import Failure

SHEET = "index.html"

_WIDTH, _COLOURS = 800, 32
_TYPES = {"wav": "audio/wav", "flac": "audio/flac", "mp3": "audio/mpeg", "ogg": "audio/ogg"}

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --faint: #777; }
body { font: 15px/1.4 system-ui, sans-serif; margin: 1.5rem auto; max-width: 90rem; padding: 0 1rem; }
header { display: flex; flex-wrap: wrap; gap: 1rem; align-items: baseline; }
h1 { font-size: 1.3rem; margin: 0; } header p { color: var(--faint); margin: 0; flex: 1; }
input { font: inherit; padding: .3rem .6rem; width: 16rem; }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(24rem, 1fr)); gap: 1rem; }
main { margin-top: 1rem; }
article { border: 1px solid var(--line); border-radius: .5rem; padding: .7rem; }
article.playing { outline: 2px solid #D55E00; }
h2 { font-size: 1rem; margin: 0 0 .4rem; overflow-wrap: anywhere; } h2 a { float: right; font-weight: 400; }
img { width: 100%; height: auto; background: #fff; border-radius: .3rem; display: block; }
audio { width: 100%; margin-top: .4rem; } article p { color: var(--faint); margin: .3rem 0 0; }
.failed li { overflow-wrap: anywhere; }
"""

_SCRIPT = """
const players = [...document.querySelectorAll('audio')];
for (const each of players) {
  each.addEventListener('play', () => players.forEach(other => {
    other.closest('article').classList.toggle('playing', other === each);
    if (other !== each) other.pause();
  }));
}
document.querySelector('input').addEventListener('input', event => {
  const words = event.target.value.toLowerCase().split(/\\s+/);
  for (const card of document.querySelectorAll('article'))
    card.hidden = !words.every(word => card.textContent.toLowerCase().includes(word));
});
"""


def write_sheet(
    folder: Path, clips: Sequence[Mapping[str, Any]], failures: Sequence[Failure] = (), *, embed: bool = False
) -> Path:
    """Write `index.html` into `folder` for the records of a batch. `embed` puts the sound into the page, too.

    Raises BridgeError when it cannot be written.
    """
    page = folder / SHEET
    with atomic_path(page) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(_head(folder.name, len(clips), embed=embed))
        for clip in clips:
            file.write(_card(folder, clip, embed=embed))
        file.write("</main>\n")
        if failures:
            items = "".join(
                f"<li>{escape(f'{each.name} ({each.where}): {each.reason}')}</li>" for each in failures
            )
            file.write(f'<section class="failed"><h2>Not rendered</h2><ul>{items}</ul></section>\n')
        file.write(f"<script>{_SCRIPT}</script>\n</html>\n")
    return page


def _head(title: str, count: int, *, embed: bool) -> str:
    media = "data:" if embed else "'self' file:"
    policy = (
        f"default-src 'none'; img-src data:; media-src {media}; "
        "style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    )
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width">\n<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}: {count} clips</title>\n<style>{_STYLE}</style>\n"
        f'<header><h1>{escape(title)}</h1><p>{count} clips</p><input type="search" '
        'placeholder="chord, style, name ..." aria-label="Show only clips with these words">'
        "</header>\n<main>\n"
    )


def _card(folder: Path, clip: Mapping[str, Any], *, embed: bool) -> str:
    files = clip["files"]
    name = escape(clip["name"])
    picture = _picture(folder / files["picture"]) if files.get("picture") else ""
    image = f'<img src="{picture}" alt="Piano roll of {name}">' if picture else ""
    sound, kind = _embedded(folder, files["audio"]) if embed else _beside(files["audio"])
    preload = "none" if embed else "metadata"
    return (
        f'<article><h2>{name} <a href="{quote(files["midi"])}">MIDI</a></h2>{image}'
        f'<audio controls preload="{preload}"><source src="{sound}" type="{kind}"></audio>'
        f"<p>{escape(_caption(clip))}</p></article>\n"
    )


def _caption(clip: Mapping[str, Any]) -> str:
    if "midi" in clip:
        played = [str(clip["midi"])]
    else:
        played = [
            str(clip["chords"]),
            f"{clip['tempo']:g} bpm",
            f"style {clip['style']}",
            f"seed {clip['seed']}",
        ]
        if clip["temperature"] is not None:
            played.append(f"temperature {clip['temperature']:g}")
    loudness = clip["loudness_lufs"]
    measured = [f"{clip['seconds']:.1f} s", f"{clip['notes']} notes", clip["instrument"]]
    if loudness is not None:
        measured.append(f"{loudness:.1f} LUFS")
    return " · ".join(part for part in played + measured if part)


def _picture(path: Path) -> str:
    """The picture, smaller and in few colours, as a data URI; nothing where it is gone."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            height = round(image.height * _WIDTH / image.width)
            small = image.convert("RGB").resize((_WIDTH, height), Image.Resampling.LANCZOS)
    except OSError:
        return ""
    buffer = io.BytesIO()
    small.quantize(_COLOURS).save(buffer, "PNG", optimize=True)
    return _data_uri(buffer.getvalue(), "image/png")


def _beside(names: Sequence[str]) -> tuple[str, str]:
    """The file that a browser starts fastest, of those that were written."""
    order = ("ogg", "mp3", "wav", "flac")
    name = min(names, key=lambda each: order.index(each.rpartition(".")[2]))
    return quote(name), _TYPES[name.rpartition(".")[2]]


def _embedded(folder: Path, names: Sequence[str]) -> tuple[str, str]:
    """The smallest file, compressed first where none of them is."""
    found = {name.rpartition(".")[2]: name for name in names}
    for suffix in ("mp3", "ogg"):
        if suffix in found:
            data = (folder / found[suffix]).read_bytes()
            return _data_uri(data, _TYPES[suffix]), _TYPES[suffix]
    from pedalboard.io import AudioFile

    data = (folder / names[0]).read_bytes()
    with AudioFile(io.BytesIO(data)) as file:
        rate = int(file.samplerate)
    suffix = "mp3" if rate in (32000, 44100, 48000) else "ogg"
    return _data_uri(encode(decode(data), rate, suffix), _TYPES[suffix]), _TYPES[suffix]


def _data_uri(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
