"""Sound to the bytes of a file, and back: WAV, FLAC, MP3 and Ogg Vorbis, by pedalboard."""

from __future__ import annotations

import io
import math

import numpy as np

from plugin_bridge.errors import BridgeError
from plugin_bridge.render.mastering import true_peak
from plugin_bridge.render.piano import Audio
from plugin_bridge.render.settings import FORMATS, Output

_MARGIN_DB = 0.02
_PASSES = 3


def encode(audio: Audio, sample_rate: int, name: str) -> bytes:
    """The file of `audio`, float32 [channels, samples], in the format `name` of `FORMATS`.

    Everything happens in memory, so that a full disk is noticed where the bytes are written.
    """
    from pedalboard.io import AudioFile

    form = FORMATS[name]
    options = {"quality": form.quality} if form.bits is None else {"bit_depth": form.bits}
    buffer = io.BytesIO()
    with AudioFile(
        buffer, "w", samplerate=sample_rate, num_channels=audio.shape[0], format=form.suffix, **options
    ) as file:
        file.write(audio)
    return buffer.getvalue()


def decode(data: bytes) -> Audio:
    """The sound of an audio file's bytes, float32 [channels, samples]."""
    from pedalboard.io import AudioFile

    with AudioFile(io.BytesIO(data)) as file:
        audio: Audio = file.read(file.frames)
    return audio


def encode_below(audio: Audio, sample_rate: int, name: str, peak: float) -> bytes:
    """As `encode`, turned down as far as needed for what is heard to stay below `peak` dBTP: compression
    with loss moves peaks."""
    data = encode(audio, sample_rate, name)
    if FORMATS[name].bits is not None:
        return data
    turned_down = 0.0
    for _ in range(_PASSES):
        over = (true_peak(decode(data)) or -math.inf) - peak
        if over <= 0:
            break
        turned_down += over + _MARGIN_DB
        data = encode(audio * np.float32(10 ** (-turned_down / 20)), sample_rate, name)
    return data


def check_formats(output: Output) -> None:
    """Raise BridgeError where a format cannot hold the rate or the channels: each is tried on silence."""
    silence = np.zeros((output.channels, 1024), np.float32)
    for name in output.formats:
        try:
            encode(silence, output.sample_rate, name)
        except Exception as error:  # pedalboard raises several types for what a codec refuses
            raise BridgeError(
                f"format {name} cannot be written at {output.sample_rate} Hz with {output.channels} "
                f"channel{'s' if output.channels > 1 else ''} ({str(error).splitlines()[0][:160]})"
            ) from error
