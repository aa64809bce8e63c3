"""The stream: one sequence of both parts that the player's events enter and the partner's come out of.

It ties the engine's cache, the encoder, the grammar and the sampler together, so that they always stand
at the same place: `hear` what the player does, let silence `advance`, `generate` the partner's next
event, `mark` a place and `rewind` to it. Times are seconds from the start of the stream.

A stream belongs to one thread at a time.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plugin_bridge._native import Sampler
from plugin_bridge.engine.engine import MAX_REWIND, Engine, PlanWindow
from plugin_bridge.engine.replay import Entry, History, Replay
from plugin_bridge.engine.sampling import SamplingParameters
from plugin_bridge.latest import Latest
from plugin_bridge.music import vocabulary as v
from plugin_bridge.music.chords import Chord
from plugin_bridge.music.events import Event, NoteOff, NoteOn, Part, Pedal
from plugin_bridge.music.grammar import Grammar, Limit, NoEnd, NotBefore, OnlyPart
from plugin_bridge.music.harmony import Chart
from plugin_bridge.music.tokens import Encoder, tick_of
from plugin_bridge.music.vocabulary import Kind

now = time.perf_counter

MetreAt = Callable[[float], int]
"""Seconds to the id of the metrical position; see `plugin_bridge.music.rhythm`."""

_LONGEST_EVENT = 48
"""Tokens to one event at most: silence of half a minute. Beyond it the model is resting."""


def unknown_metre(seconds: float) -> int:
    """The metre where there is no beat to go by."""
    return 0


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in the stream to come back to."""

    length: int
    encoder: Encoder
    grammar: Grammar
    logits: NDArray[np.float32]
    random: tuple[int, int, int, int]
    chosen_velocity: int


class Stream:
    """A duet in one sequence. `tokens_generated` and `tokens_heard` count since the start;
    `step_seconds` holds what the latest single steps of the engine took."""

    def __init__(
        self,
        engine: Engine,
        *,
        sampling: SamplingParameters | None = None,
        seed: int = 0,
        limits: Sequence[Limit] = (),
        chart: Chart | None = None,
        metre_at: MetreAt = unknown_metre,
        chord_bias: float = 0.0,
    ) -> None:
        """`chord_bias`: nats taken from every new note outside the chord that sounds (0: none)."""
        self.engine = engine
        self._own_sampling = sampling
        self.sampling = sampling or engine.style.sampling
        self.set_limits(limits)
        self.metre_at = metre_at
        self.chord_bias = chord_bias
        self.tokens_generated = self.tokens_heard = 0
        self.step_seconds = Latest(20_000)
        self._chart = chart or Chart(())
        self._chord_index: int | None = None
        self._plan: PlanWindow | None = None
        self._chosen_velocity = 0
        self._seed = seed
        self._sampler = Sampler(v.SIZE, seed)
        self._mask = np.zeros(v.SIZE, np.uint8)
        self._bias: NDArray[np.float32] | None = None
        sizes = engine.style.sizes
        reach = sizes.context + sizes.layers * (sizes.window - 1)  # what a logit depends on at most
        self._history: deque[Entry] = deque(maxlen=reach + MAX_REWIND)
        self._recorded = 0
        engine.reset()
        self._encoder, self._grammar = Encoder(), Grammar()
        self._logits = np.zeros(v.SIZE, np.float32)
        self._feed([v.BOS])

    @property
    def seconds(self) -> float:
        """The time the stream has reached."""
        return self._encoder.tick * v.TICK_SECONDS

    @property
    def partner_holds(self) -> frozenset[int]:
        """The pitches the partner holds, as the stream has it."""
        return frozenset(np.nonzero(self._grammar.held[Part.PARTNER])[0].tolist())

    @property
    def player_holds(self) -> frozenset[int]:
        """The pitches the player holds, as the stream has it."""
        return frozenset(np.nonzero(self._grammar.held[Part.PLAYER])[0].tolist())

    @property
    def chord(self) -> Chord | None:
        """The chord that sounds, by the chart."""
        return self._chart.chord(self.seconds)

    @property
    def random(self) -> tuple[int, int, int, int]:
        """The state of the random numbers, to be set too."""
        return self._sampler.state

    @random.setter
    def random(self, state: tuple[int, int, int, int]) -> None:
        self._sampler.state = state

    @property
    def partner_pedal(self) -> bool:
        """Whether the partner's pedal is down, as the stream has it."""
        return self._grammar.pedal[Part.PARTNER]

    def set_chart(self, chart: Chart) -> None:
        """Follow another chart from here on."""
        self._chart = chart
        self._chord_index = None

    def set_limits(self, limits: Sequence[Limit]) -> None:
        """What the partner may play from here on, beside what is always so: its own part, without an end."""
        self._limits: tuple[Limit, ...] = (OnlyPart(Part.PARTNER), NoEnd(), *limits)

    def hear(self, events: Sequence[Event]) -> None:
        """Append events that happened, in time order; one earlier than the stream is put at its end."""
        tokens = [token for event in events for token in self._encoder.push(event)]
        if tokens:
            self._feed(tokens)
            self.tokens_heard += len(tokens)

    def advance(self, seconds: float) -> None:
        """Let silence pass, in whole seconds of the token grid: what is left over stays for the next
        event's own time-shift, as the model knows it."""
        whole = (tick_of(seconds) - self._encoder.tick) // v.MAX_SHIFT
        if whole > 0:
            self._feed(self._encoder.advance(self._encoder.tick + whole * v.MAX_SHIFT))

    def restart(self, seconds: float, events: Sequence[Event]) -> None:
        """Forget everything but `events`, which begin at `seconds` or later; marks made before are void."""
        self.engine.reset()
        self._history.clear()
        self._recorded = 0
        tick = tick_of(seconds)
        self._encoder, self._grammar = Encoder(tick), Grammar(tick)
        self._chord_index = None
        self._feed([v.BOS])
        self.hear(events)

    def set_chord_bias(self, nats: float) -> None:
        """Take `nats` from every new note outside the chord that sounds, from here on."""
        if nats != self.chord_bias:
            self.chord_bias = nats
            self._chord_index = None

    def since(self, mark: Mark) -> list[int]:
        """The tokens that were appended since `mark`."""
        count = self._recorded - mark.length
        return [entry[0] for entry in itertools.islice(self._history, len(self._history) - count, None)]

    def repeat(self, tokens: Sequence[int]) -> None:
        """Append tokens that this stream drew before and took back, in one pass."""
        for token in tokens:
            self._encoder.follow(token)
        self._feed(tokens)

    def generate(self, *, not_before: float, until: float, loudest: int | None = None) -> Event | None:
        """The partner's next event, at `not_before` seconds or later; None when the stream has passed
        `until` without one. The model hears its own notes no louder than the velocity `loudest`; the
        event that is returned has the one that was drawn."""
        limits = (*self._limits, NotBefore(tick_of(not_before)))
        for _ in range(_LONGEST_EVENT):
            token = self._draw(limits)
            if token >= v.VELOCITY_BASE:
                self._chosen_velocity = token - v.VELOCITY_BASE
                if loudest is not None:
                    token = min(token, v.VELOCITY_BASE + v.velocity_bin(loudest))
            self._encoder.follow(token)
            self._feed([token])
            self.tokens_generated += 1
            what, value = v.kind(token)
            match what:
                case Kind.NOTE_ON:
                    level = self._grammar.velocity[Part.PARTNER]
                    if loudest is not None:
                        level = max(level, self._chosen_velocity)
                    velocity = v.bin_velocity(level)
                    return NoteOn(self.seconds, value, velocity, Part.PARTNER)
                case Kind.NOTE_OFF:
                    return NoteOff(self.seconds, value, Part.PARTNER)
                case Kind.PEDAL:
                    return Pedal(self.seconds, bool(value), Part.PARTNER)
            if self.seconds > until:
                return None
        return None

    def mark(self) -> Mark:
        """This place, to `rewind` to. Costs a copy of the grammar and of one row of logits."""
        return Mark(
            self.engine.length,
            self._encoder.copy(),
            self._grammar.copy(),
            self._logits.copy(),
            self._sampler.state,
            self._chosen_velocity,
        )

    def can_rewind(self, mark: Mark) -> bool:
        """Whether the cache still holds what a rewind to `mark` needs."""
        return self.engine.oldest_length <= mark.length <= self.engine.length

    def rewind(self, mark: Mark) -> None:
        """Be as if nothing had happened since `mark`, random state included."""
        self.engine.rewind(mark.length)
        while self._recorded > mark.length and self._history:
            self._history.pop()
            self._recorded -= 1
        self._encoder, self._grammar = mark.encoder.copy(), mark.grammar.copy()
        self._logits[:] = mark.logits
        self._sampler.state = mark.random
        self._chosen_velocity = mark.chosen_velocity
        self._follow_chord(self._chart.index(self.seconds))

    def history(self) -> History:
        """What a `Replay` needs to bring another engine here."""
        return History(self._recorded, tuple(self._history))

    def move(self, replay: Replay) -> bool:
        """Go on with the engine of `replay`, as if it had played all along. Marks made before are void.
        False, and nothing happens, where the replay is of a past that was taken back: make another."""
        if not replay.follow(self.history()):
            return False
        self.engine = replay.engine
        self.sampling = self._own_sampling or self.engine.style.sampling
        self._recorded = self.engine.length
        self._logits[:] = replay.logits
        self.engine.set_plan(self._plan)
        return True

    def reseed(self) -> None:
        """Draw from here on by the seed and what was heard so far. A plan that is made anew, again and again,
        from one place would otherwise draw the same each time, and put the same note off for ever."""
        mixed = (self._seed * 0x9E3779B97F4A7C15 + self.tokens_heard) % 2**63
        self._sampler.state = Sampler(v.SIZE, mixed).state

    def _draw(self, limits: Sequence[Limit]) -> int:
        self._grammar.mask(limits, self._mask)
        return self._sampler.draw(self._logits, self._mask, self._bias, *self.sampling.arguments)

    def _feed(self, tokens: Sequence[int]) -> None:
        """Append tokens to cache and grammar, the plan and the metre moving along with the time."""
        start = 0
        metre: list[int] = []
        for index, token in enumerate(tokens):
            self._grammar.push(token)
            seconds = self._grammar.tick * v.TICK_SECONDS
            chord = self._chart.index(seconds)
            if chord != self._chord_index:
                self._extend(tokens[start:index], metre[start:index])
                start = index
                self._follow_chord(chord)
            metre.append(self.metre_at(seconds))
        self._extend(tokens[start:], metre[start:])

    def _extend(self, tokens: Sequence[int], metre: Sequence[int]) -> None:
        if not tokens:
            return
        began = now()
        self._logits[:] = self.engine.extend(tokens, metre)
        self._history.extend((token, place, self._plan) for token, place in zip(tokens, metre, strict=True))
        self._recorded += len(tokens)
        if len(tokens) == 1:
            self.step_seconds.append(now() - began)

    def _follow_chord(self, index: int) -> None:
        sizes = self.engine.style.sizes
        window = self._chart.window(index, sizes.plan_before, sizes.plan_after)
        self._plan = None if window is None else PlanWindow(window)
        self.engine.set_plan(self._plan)
        self._chord_index = index
        chord = self._chart.spans[index].chord if index >= 0 else None
        if chord is None or self.chord_bias <= 0:
            self._bias = None
            return
        self._bias = np.zeros(v.SIZE, np.float32)
        outside = [pitch for pitch in range(128) if pitch % 12 not in chord.pitch_classes]
        self._bias[v.NOTE_ON_BASE + np.array(outside)] = -self.chord_bias


def rewind_reach() -> int:
    """How many tokens a plan may be long so that it can always be taken back."""
    return MAX_REWIND - 32
