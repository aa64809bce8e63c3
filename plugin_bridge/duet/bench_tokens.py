"""`plugin-bridge bench tokens`: how fast events become tokens, and tokens events."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

from plugin_bridge.music.clip import Clip
from plugin_bridge.music.tokens import Decoder, Encoder, decode, encode, rows_from_events

_ROUNDS = 15


def bench_tokens(clip: Clip) -> dict[str, Any]:
    """Events a second on one thread, medians over rounds in which all four take turns.

    `encode_events_per_second` and `decode_events_per_second` are of whole pieces, as in training, `encoder_`
    and `decoder_` of one event or token at a time, as when playing; `tokens_per_event` is the clip's.
    """
    events = clip.events()
    rows = rows_from_events(events)
    tokens = encode(rows)
    single = tokens.tolist()

    def push_events() -> None:
        encoder = Encoder()
        for event in events:
            encoder.push(event)

    def push_tokens() -> None:
        decoder = Decoder()
        for token in single:
            decoder.push(token)

    candidates: dict[str, Callable[[], object]] = {
        "encode": lambda: encode(rows),
        "decode": lambda: decode(tokens),
        "encoder": push_events,
        "decoder": push_tokens,
    }
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(_ROUNDS):
        for name, candidate in candidates.items():
            began = time.perf_counter()
            candidate()
            times[name].append(time.perf_counter() - began)
    rates = {name: round(len(events) / median(each)) for name, each in times.items()}
    return {
        "events": len(events),
        "tokens": len(tokens),
        "tokens_per_event": round(len(tokens) / len(events), 2),
        **{f"{name}_events_per_second": rate for name, rate in rates.items()},
    }
