"""Messages between the program and a plugin's process: a header in JSON and a body of sound, on a pipe."""

from __future__ import annotations

import json
import struct
from typing import IO, Any

import numpy as np

from plugin_bridge.render.piano import Audio

_LENGTHS = struct.Struct("<QQ")


def send(stream: IO[bytes], header: dict[str, Any], audio: Audio | None = None) -> None:
    """Write one message; `audio` is float32 [channels, samples]."""
    body = b"" if audio is None else np.ascontiguousarray(audio, np.float32).tobytes()
    shape = None if audio is None else list(audio.shape)
    head = json.dumps(header | {"shape": shape}).encode()
    stream.write(_LENGTHS.pack(len(head), len(body)) + head)
    stream.write(body)
    stream.flush()


def receive(stream: IO[bytes]) -> tuple[dict[str, Any], Audio | None]:
    """Read one message. Raises EOFError where the other end has gone."""
    head, body = _LENGTHS.unpack(_exactly(stream, _LENGTHS.size))
    header: dict[str, Any] = json.loads(_exactly(stream, head))
    data = _exactly(stream, body)
    shape = header.pop("shape")
    return header, None if shape is None else np.frombuffer(data, np.float32).reshape(shape)


def _exactly(stream: IO[bytes], count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise EOFError("the other end has gone")
    return data
