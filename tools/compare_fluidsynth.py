"""Our SoundFont player beside FluidSynth: the same MIDI files, the same SoundFont, in turn. Speed in
processor time, level, and when the notes begin. Debian: apt-get install fluidsynth fluid-soundfont-gm.

    python tools/compare_fluidsynth.py FOLDER --soundfont FONT.sf2
"""

from __future__ import annotations

import resource
import subprocess
import tempfile
import time
from pathlib import Path

import click
import numpy as np
from note_onsets import onset_errors

from plugin_bridge.music.midi_file import read_midi
from plugin_bridge.render import Output, Renderer
from plugin_bridge.render.encoding import decode
from plugin_bridge.render.mastering import integrated_loudness
from plugin_bridge.render.renderer import clip_of

RATE = 44100


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--soundfont", type=click.Path(path_type=Path), required=True)
@click.option("--files", default=20, show_default=True, help="How many of the folder's MIDI files.")
def main(folder: Path, soundfont: Path, files: int) -> None:
    """Render each file with both, one after the other, without effects and as it comes."""
    seconds = {"ours": 0.0, "fluidsynth": 0.0}
    sound, levels, apart, own, theirs = 0.0, [], [], [], []
    with Renderer(str(soundfont), "none", Output(loudness=None, peak=0.0)) as renderer:
        paths = sorted(folder.glob("*.mid"))[:: max(1, len(list(folder.glob("*.mid"))) // files)][:files]
        renderer(paths[0])  # loads the SoundFont, as FluidSynth does in each of its runs: told apart below
        loading = _fluidsynth_loading(soundfont)
        for path in paths:
            began = time.process_time()
            ours = renderer(path).audio
            seconds["ours"] += time.process_time() - began
            began = _children_seconds()
            other = _fluidsynth(path, soundfont)
            seconds["fluidsynth"] += _children_seconds() - began - loading
            clip = clip_of(read_midi(path))
            sound += clip.duration
            pair = [integrated_loudness(audio, RATE) for audio in (ours, other)]
            if pair[0] is not None and pair[1] is not None:
                levels.append(pair[0] - pair[1])
            mine, its = (dict(onset_errors(audio, RATE, clip)) for audio in (ours, other))
            own += list(mine.values())
            theirs += list(its.values())
            apart += [mine[note] - its[note] for note in mine.keys() & its.keys()]
    click.echo(f"{len(paths)} files, {sound / 60:.1f} minutes")
    click.echo(f"taken off: FluidSynth's start and loading, {loading:.2f} s a file")
    for name, took in seconds.items():
        click.echo(f"{name}: {took:.2f} s, {sound / took:.0f} x real time")
    click.echo(f"ours takes {seconds['ours'] / seconds['fluidsynth']:.2f} of FluidSynth's time")
    click.echo(
        f"ours is {np.mean(levels):+.1f} LU beside FluidSynth (from {min(levels):+.1f} to {max(levels):+.1f})"
    )
    for name, errors in (
        ("ours after the MIDI", own),
        ("FluidSynth after the MIDI", theirs),
        ("ours after it", apart),
    ):
        low, middle, high = np.quantile(errors, [0.05, 0.5, 0.95])
        spread = f"5 to 95 of 100 {low:+.1f} to {high:+.1f} ms"
        click.echo(f"onsets, {name}: median {middle:+.1f} ms, {spread}, n={len(errors)}")


def _fluidsynth(path: Path, soundfont: Path) -> np.ndarray:
    """What FluidSynth makes of it, at its default gain, without reverb and chorus."""
    with tempfile.TemporaryDirectory() as work:
        out = Path(work) / "out.wav"
        command = ["fluidsynth", "-n", "-i", "-q", "-R", "0", "-C", "0", "-r", str(RATE), "-O", "float"]
        subprocess.run([*command, "-F", str(out), str(soundfont), str(path)], check=True, capture_output=True)  # noqa: S603
        return decode(out.read_bytes())


def _children_seconds() -> float:
    """Processor time of the programs that were run and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _fluidsynth_loading(soundfont: Path) -> float:
    """Processor seconds for an empty MIDI file: the start and the loading alone; the least of three."""
    from plugin_bridge.music.clip import Clip, Note
    from plugin_bridge.music.midi_file import write_midi

    with tempfile.TemporaryDirectory() as work:
        path = Path(work) / "short.mid"
        write_midi(Clip((Note(0.0, 0.01, 60, 1),)), path)
        took = []
        for _ in range(3):
            began = _children_seconds()
            _fluidsynth(path, soundfont)
            took.append(_children_seconds() - began)
    return min(took)


if __name__ == "__main__":
    main()
