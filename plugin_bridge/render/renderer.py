"""A clip to sound: instrument, effects, tail, loudness, peaks. The same code plays one clip and ten thousand.

A `Renderer` keeps what is costly to make: SoundFonts, and plugins in their processes. It is for one thread at
a time.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType

import numpy as np

from plugin_bridge.errors import BridgeError
from plugin_bridge.files import atomic_path
from plugin_bridge.music.clip import Clip
from plugin_bridge.music.events import NoteOff, NoteOn, Part, Pedal
from plugin_bridge.music.midi_file import MidiFile, read_midi
from plugin_bridge.render.audio import PAN, balance, render_blocks
from plugin_bridge.render.effects import BuiltInEffect, Chain, build, choose_effects
from plugin_bridge.render.encoding import encode_below
from plugin_bridge.render.instruments import (
    BuiltInPiano,
    Instrument,
    PluginSpec,
    SoundFontPreset,
    choose_instrument,
)
from plugin_bridge.render.mastering import Mastering, master
from plugin_bridge.render.piano import Audio, Piano, load_soundfont
from plugin_bridge.render.plugin_host import DEFAULT_TIME_LIMIT, PluginHost
from plugin_bridge.render.settings import FORMATS, LONGEST_CLIP, Output
from plugin_bridge.render.tails import cut, cut_point, process_out, trimmed

_AFTER_LAST_MESSAGE = 0.01  # seconds: the last note-off lies inside what is played, not at its edge
_MOST_HOSTS = 6  # plugins that are kept loaded


@dataclass(frozen=True, slots=True)
class Sound:
    """A rendered clip. `audio`: float32 [channels, samples]; `stems` the same for each part, empty unless
    asked for; `loudness` in LUFS and `true_peak` in dBTP (None for silence); `limited` dB were taken from the
    highest peak."""

    audio: Audio
    sample_rate: int
    loudness: float | None
    true_peak: float | None
    limited: float
    peak_limit: float = -1.0
    stems: dict[Part, Audio] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        return float(self.audio.shape[1] / self.sample_rate)

    def write(self, path: str | os.PathLike[str], form: str | None = None) -> None:
        """Write the mix as the suffix of `path` says, or as `form`, one of `FORMATS`. The file appears whole
        or not at all. Raises BridgeError for a suffix that is not known, or a file that cannot be written."""
        target = Path(path)
        suffix = target.suffix.lower().lstrip(".")
        known = {"wav": "wav24"} | {name: name for name in ("flac", "mp3", "ogg")}
        form = form or known.get(suffix)
        if form not in FORMATS or FORMATS[form].suffix != suffix:
            raise BridgeError(f"{target}: choose one of the suffixes {', '.join(known)}")
        data = encode_below(self.audio, self.sample_rate, form, self.peak_limit)
        with atomic_path(target) as temporary:
            temporary.write_bytes(data)


class Renderer:
    """Renders clips with one setting of `Output`. Close it, or use it in a `with` block: plugins then end."""

    def __init__(
        self,
        instrument: str | Instrument = "piano",
        effects: str | Chain = "default",
        output: Output | None = None,
        *,
        preset: str | None = None,
        time_limit: float = DEFAULT_TIME_LIMIT,
    ) -> None:
        """Instrument, preset and effects as in a manifest, sought from the current folder. Raises BridgeError
        for what is not there; a plugin is loaded with the first clip."""
        here = Path()
        self.instrument = (
            choose_instrument(instrument, preset, here) if isinstance(instrument, str) else instrument
        )
        self.effects = choose_effects(effects, here) if isinstance(effects, str) else tuple(effects)
        self.output = output or Output()
        self.time_limit = time_limit
        self._pianos: dict[tuple[Instrument, int], Piano] = {}
        self._hosts: dict[PluginSpec, PluginHost] = {}

    def __call__(self, clip: Clip | str | os.PathLike[str]) -> Sound:
        """The sound of a clip, or of a MIDI file. Raises BridgeError for a clip without notes, one that is
        too long, and whatever a plugin does wrong."""
        if not isinstance(clip, Clip):
            clip = clip_of(read_midi(Path(clip)))
        return self.render(clip, self.instrument, self.effects, self.output)

    def render(
        self, clip: Clip, instrument: Instrument, effects: Chain, output: Output, *, least: float = 0.0
    ) -> Sound:
        """As a call, with settings of its own. The sound lasts at least `least` seconds."""
        if not clip.notes:
            raise BridgeError("the clip has no notes")
        if clip.duration > LONGEST_CLIP:
            raise BridgeError(f"the clip lasts {clip.duration:.0f} s; it may last {LONGEST_CLIP:.0f} s")
        rate, tail = output.sample_rate, output.tail
        played = {part: self._play(clip.part(part), instrument, output) for part in _parts(clip)}
        if len(played) > 1:
            played = {part: sound * _sides(balance(PAN[part])) for part, sound in played.items()}
        mix = _channels(self._through(effects, _sum(list(played.values())), rate, tail), output.channels)
        samples = cut_point(mix, rate, max(clip.duration, least), tail)
        mix = cut(mix, samples, rate)
        mastering: Mastering = master(mix, rate, output.loudness, output.peak)
        stems: dict[Part, Audio] = {}
        if output.stems:
            for part, sound in played.items():
                stem = _channels(self._through(effects, sound, rate, tail), output.channels)
                stems[part] = cut(stem, samples, rate) * mastering.gain
        return Sound(
            mix * mastering.gain, rate, mastering.loudness, mastering.true_peak, mastering.limited,
            output.peak, stems,
        )  # fmt: skip

    def host(self, spec: PluginSpec) -> PluginHost:
        """The process of a plugin; the one that was used longest ago makes room."""
        host = self._hosts.pop(spec, None) or PluginHost(spec, self.time_limit)
        self._hosts[spec] = host
        while len(self._hosts) > _MOST_HOSTS:
            self._hosts.pop(next(iter(self._hosts))).close()
        return host

    def close(self) -> None:
        """End the plugins' processes."""
        while self._hosts:
            self._hosts.popitem()[1].close()

    def __enter__(self) -> Renderer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _play(self, part: Clip, instrument: Instrument, output: Output) -> Audio:
        """One part alone, as the instrument plays it, with its tail."""
        if isinstance(instrument, PluginSpec):
            seconds = part.duration + _AFTER_LAST_MESSAGE
            return self.host(instrument).play(midi_messages(part), seconds, output.sample_rate, output.tail)
        key = (instrument, output.sample_rate)
        if key not in self._pianos:
            self._pianos[key] = make_piano(instrument, output.sample_rate)
        blocks = list(render_blocks(part, output.sample_rate, output.tail, piano=self._pianos[key]))
        return trimmed(np.concatenate(blocks, axis=1))

    def _through(self, effects: Chain, audio: Audio, sample_rate: int, tail: float) -> Audio:
        for effect in effects:
            if isinstance(effect, BuiltInEffect):
                audio = process_out(build(effect), audio, sample_rate, tail)
            else:
                audio = self.host(effect).process(audio, sample_rate, tail)
        return audio


def make_piano(instrument: BuiltInPiano | SoundFontPreset, sample_rate: int) -> Piano:
    """What plays it. Raises BridgeError, naming the file, for a SoundFont that cannot be read or lacks the
    preset."""
    match instrument:
        case BuiltInPiano():
            return Piano(sample_rate)
        case SoundFontPreset(path, bank, program):
            return Piano(sample_rate, load_soundfont(path), bank=bank, program=program)


def clip_of(midi: MidiFile) -> Clip:
    """All that is pitched in a file. A track called `player` is the player's, all others the partner's."""
    own = tuple(track for track in midi.tracks if track.name.strip().lower() == "player")
    others = tuple(track for track in midi.tracks if track not in own)
    player = replace(midi, tracks=own).clip(Part.PLAYER)
    partner = replace(midi, tracks=others).clip(Part.PARTNER)
    return replace(
        partner,
        notes=tuple(sorted(player.notes + partner.notes)),
        pedals=tuple(sorted(player.pedals + partner.pedals, key=lambda pedal: pedal.time)),
    )


def midi_messages(clip: Clip) -> list[tuple[bytes, float]]:
    """MIDI messages on the first channel, with their times in seconds: of one moment note-offs first, then
    pedals, then note-ons (the canonical order of events)."""
    messages: list[tuple[bytes, float]] = []
    for event in clip.events():
        match event:
            case NoteOn():
                data = bytes((0x90, event.pitch, event.velocity))
            case NoteOff():
                data = bytes((0x80, event.pitch, 0))
            case Pedal():
                data = bytes((0xB0, 64, 127 * event.down))
        messages.append((data, event.time))
    return messages


def _parts(clip: Clip) -> list[Part]:
    return [part for part in Part if any(note.part is part for note in clip.notes)]


def _sides(gains: tuple[float, float]) -> Audio:
    return np.array(gains, np.float32)[:, None]


def _sum(sounds: Sequence[Audio]) -> Audio:
    total = np.zeros((2, max(sound.shape[1] for sound in sounds)), np.float32)
    for sound in sounds:
        total[:, : sound.shape[1]] += sound
    return total


def _channels(audio: Audio, count: int) -> Audio:
    """Stereo as it is, or both sides as one channel."""
    if not np.isfinite(audio).all():
        raise BridgeError("an effect or instrument gave values that are not numbers")
    return audio if count == 2 else audio.mean(axis=0, keepdims=True)
