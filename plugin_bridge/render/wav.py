"""WAV files: PCM of 16 or 24 bits, written whole or not at all."""

from __future__ import annotations

import os
import wave
from collections.abc import Iterable

import numpy as np

from plugin_bridge.errors import BridgeError
from plugin_bridge.files import atomic_path
from plugin_bridge.render.piano import Audio

_LIMIT = 2**32 - 2**16  # sizes in RIFF are 32 bits wide


def pcm(audio: Audio, bits: int) -> bytes:
    """Interleaved little-endian PCM of `audio`, float [channels, samples]; what exceeds full scale is cut."""
    if not np.isfinite(audio).all():
        raise ValueError("the sound has values that are not numbers")
    full = 2 ** (bits - 1) - 1
    values = np.rint(np.clip(audio.T, -1.0, 1.0).astype(np.float64) * full).astype("<i4")
    if bits == 16:
        return bytes(values.astype("<i2").tobytes())
    return bytes(np.ascontiguousarray(values).view(np.uint8).reshape(-1, 4)[:, :3].tobytes())


def write_wav(
    path: str | os.PathLike[str], audio: Audio | Iterable[Audio], sample_rate: int, *, bits: int = 16
) -> None:
    """Write `audio`, float [2, samples] or blocks of it in order, as a stereo WAV file.

    Raises BridgeError when the file cannot be written or would pass the 4 GB that WAV can hold, ValueError
    for `bits` other than 16 and 24, for sound that is not stereo, and for NaN. `path` is then unchanged.
    """
    if bits not in (16, 24):
        raise ValueError(f"WAV files here have 16 or 24 bits, not {bits}")
    blocks = [audio] if isinstance(audio, np.ndarray) else audio
    with atomic_path(path) as temporary, wave.open(str(temporary), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(bits // 8)
        file.setframerate(sample_rate)
        written = 0
        for block in blocks:
            if block.ndim != 2 or block.shape[0] != 2:
                raise ValueError(f"sound must be [2, samples], not {list(block.shape)}")
            data = pcm(block, bits)
            written += len(data)
            if written > _LIMIT:
                raise BridgeError(
                    f"{path} would pass the 4 GB that WAV can hold; render it in shorter pieces"
                )
            file.writeframes(data)
