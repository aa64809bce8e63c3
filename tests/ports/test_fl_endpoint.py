"""Two ends of the link to FL Studio find each other, and what one sends the other gets, whatever is lost."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from itertools import pairwise

import pytest
from fakes.fl_pair import Bad, counter, whole
from hypothesis import given, settings
from hypothesis import strategies as st

from plugin_bridge.ports import fl_endpoint
from plugin_bridge.ports.fl_endpoint import Endpoint
from plugin_bridge.ports.fl_protocol import (
    DAEMON,
    SCRIPT,
    Frame,
    Message,
    is_coded,
    pack_frame,
    write_message,
)

Channel = Callable[[bytes], Iterable[bytes]]


class Ends:
    """A daemon's end and a script's, a tick of 20 ms at a time."""

    def __init__(self, frames: int = 1) -> None:
        self.frames = frames
        self.time = 100.0
        self.daemon = Endpoint(DAEMON, counter(1000), frames)
        self.script = Endpoint(SCRIPT, counter(2000), frames)
        self.to_daemon: list[Message] = []
        self.to_script: list[Message] = []
        self.sent: list[list[bytes]] = []
        self.up: Channel = whole
        self.down: Channel = whole
        self.hint, self.channel = "", "none"  # the states that each end tells

    def run(self, seconds: float) -> Ends:
        for _ in range(round(seconds / 0.02)):
            self.time += 0.02
            self._tell()
            up = self.script.due(self.time)
            self.sent.append(up)
            self._pass(up, self.up, self.daemon, self.to_daemon)
            self._pass(self.daemon.due(self.time), self.down, self.script, self.to_script)
        return self

    def _tell(self) -> None:
        if self.daemon.fresh:
            self.daemon.fresh = False
            self.daemon.send("hint", text=self.hint)
        if self.script.fresh:
            self.script.fresh = False
            self.script.send("channel", index=1, name=self.channel)

    def _pass(self, sent: list[bytes], channel: Channel, to: Endpoint, heard: list[Message]) -> None:
        for message in sent:
            for arriving in channel(message):
                heard += to.hear(arriving, self.time) or []

    def show(self, text: str) -> None:
        self.hint = text
        self.daemon.send("hint", text=text)

    def select(self, name: str) -> None:
        self.channel = name
        self.script.send("channel", index=1, name=name)

    def hints(self) -> list[str]:
        return [each.text("text") for each in self.to_script]

    def agree(self) -> bool:
        """Both know the other's latest state."""
        channels = [each.text("name") for each in self.to_daemon if each.name == "channel"]
        return bool(
            self.daemon.linked
            and self.script.linked
            and self.hints()[-1:] == [self.hint]
            and channels[-1:] == [self.channel]
        )


def test_they_find_each_other_and_tell_their_state() -> None:
    ends = Ends().run(0.5)
    assert ends.agree()
    assert ends.daemon.peer == ends.script.own
    assert ends.script.peer == ends.daemon.own


@pytest.mark.parametrize("times", [1, 2, 3])
def test_what_is_sent_arrives_once_and_in_order(times: int) -> None:
    ends = Ends().run(0.5)
    ends.down = lambda message: [message] * times
    ends.to_script.clear()
    for number in range(300):
        ends.show(str(number))
        ends.run(0.1)
    assert ends.hints() == [str(number) for number in range(300)]


@pytest.mark.parametrize("frames", [1, 8])
def test_a_long_message_goes_in_frames_that_fit_and_at_the_pace_that_is_set(frames: int) -> None:
    ends = Ends(frames).run(0.5)
    ends.sent.clear()
    ends.select("x" * 3990)
    ends.run(0.5)
    assert ends.agree()
    assert max(len(tick) for tick in ends.sent) <= frames
    assert max(len(message) for tick in ends.sent for message in tick) <= 1010
    assert sum(len(message) > 900 for tick in ends.sent for message in tick) == 4


@pytest.mark.parametrize("frames", [1, 8])
def test_an_end_that_is_asked_every_millisecond_keeps_the_pace_all_the_same(frames: int) -> None:
    ends = Ends(frames).run(0.5)
    sent = 0
    for millisecond in range(1, 201):
        ends.script.post(b"", urgent=True)
        sent += len(ends.script.due(ends.time + millisecond / 1000))
    assert 9 <= sent <= 14


def test_a_message_that_waits_is_replaced_by_a_newer_one_of_its_name() -> None:
    ends = Ends().run(0.5)
    ends.to_script.clear()
    for number in range(1000):
        ends.show(str(number))
    ends.run(0.5)
    assert ends.hints() == ["999"]


@pytest.mark.parametrize("seed", range(20))
def test_a_bad_channel_loses_nothing_that_is_acknowledged(seed: int) -> None:
    ends = Ends(8 if seed % 2 else 1).run(0.5)
    ends.up, ends.down = Bad(0.2, seed), Bad(0.2, seed + 1)
    for number in range(20):
        ends.show(f"{seed} {number} " + "long" * (100 * (number % 5)))
        ends.select(f"channel {number}")
        ends.run(0.4)
    ends.up = ends.down = whole
    ends.run(4.0)
    assert ends.agree()


def test_a_program_that_starts_again_is_taken_up_within_its_silence() -> None:
    ends = Ends().run(0.5)
    ends.daemon = Endpoint(DAEMON, counter(5000), 1)
    ends.run(fl_endpoint.DAEMON_SILENCE + 0.3)
    assert ends.agree()


def test_a_script_that_starts_again_is_taken_up_within_its_silence_or_at_once_when_it_said_goodbye() -> None:
    for goodbye, seconds in ((False, fl_endpoint.SCRIPT_SILENCE + 0.5), (True, 0.5)):
        ends = Ends().run(0.5)
        if goodbye:
            for message in ends.script.goodbye():
                ends.daemon.hear(message, ends.time)
            assert not ends.daemon.hears(ends.time)
        ends.script = Endpoint(SCRIPT, counter(7000), 1)
        ends.run(seconds)
        assert ends.agree()


def test_a_script_that_hears_nobody_is_heard_but_does_not_take_the_place_of_one_that_does() -> None:
    ends = Ends().run(0.5)
    keyboard = Endpoint(SCRIPT, counter(9000), 1)
    keyboard.post(write_message("knobs", last=1, moves=b"\x00\x07\x40"))
    heard = ends.daemon.hear(keyboard.due(ends.time)[0], ends.time)
    assert heard is not None
    assert [(each.name, each.from_peer) for each in heard] == [("knobs", False)]
    assert ends.run(1.0).agree()
    assert ends.daemon.peer == ends.script.own


def test_an_end_that_is_not_heard_is_missed_after_its_silence_and_not_before() -> None:
    ends, last = Ends().run(0.5), 101.0
    ends.daemon.hear(pack_frame(Frame(SCRIPT, ends.script.own, ends.daemon.own)), last)
    ends.script.hear(pack_frame(Frame(DAEMON, ends.daemon.own, ends.script.own)), last)
    assert ends.script.hears(last + 0.55)
    assert not ends.script.hears(last + 0.65)
    assert ends.daemon.hears(last + 0.95)
    assert not ends.daemon.hears(last + 1.05)


def test_with_nothing_to_say_there_are_five_heartbeats_a_second() -> None:
    ends = Ends().run(1.0)
    ends.sent.clear()
    ends.run(2.0)
    assert 8 <= sum(map(len, ends.sent)) <= 12


def test_an_urgent_report_goes_before_what_waits() -> None:
    ends = Ends().run(0.5)
    ends.select("y" * 3000)
    ends.script.post(b"", urgent=True)
    first, second = ends.script.due(ends.time + 0.02), ends.script.due(ends.time + 0.04)
    assert len(first[0]) < 30
    assert len(second[0]) > 900


@pytest.mark.parametrize("direction", ["up", "down"])
def test_where_sysex_does_not_come_through_control_changes_do(direction: str) -> None:
    ends = Ends()
    setattr(ends, direction, lambda message: [message] if is_coded(message) else [])
    ends.run(3.0)
    assert ends.agree()
    ends.show("new")
    ends.select("also new, and far too long for one frame of this coding")
    ends.run(1.0)
    assert ends.agree()
    assert max(len(tick) for tick in ends.sent) <= 72


def test_after_five_seconds_in_which_nothing_comes_through_the_session_goes_on() -> None:
    ends = Ends().run(0.5)
    session = ends.daemon.own
    ends.up = ends.down = lambda message: []
    ends.show("meanwhile")
    ends.run(5.0)
    ends.up = ends.down = whole
    ends.run(1.0)
    assert ends.agree()
    assert ends.daemon.own == session


def test_ends_whose_counts_disagree_begin_a_new_session() -> None:
    ends = Ends().run(0.5)
    ends.script._expected = 77
    ends.show("unheard")
    ends.run(4.0)
    assert ends.agree()


def test_an_echo_of_ones_own_frames_is_nothing() -> None:
    ends = Ends().run(0.5)
    mine = pack_frame(Frame(DAEMON, ends.daemon.own, ends.daemon.peer, bye=True))
    assert ends.daemon.hear(mine, ends.time) == []
    assert ends.daemon.linked


def test_music_is_not_the_links() -> None:
    ends = Ends()
    for message in (b"\x90\x3c\x40", b"\xb0\x40\x7f", b"\xb0\x66\x01", b"\xf8", b"\xf0\x7e\x00\x06\x01\xf7"):
        assert ends.daemon.hear(message, 0.0) is None


ACTIONS = st.one_of(
    st.tuples(st.just("show"), st.integers(0, 2000)),
    st.tuples(st.just("select"), st.integers(0, 90)),
    st.tuples(st.just("run"), st.integers(1, 60)),
    st.tuples(
        st.sampled_from(["lose", "heal", "restart daemon", "restart script", "bye", "stall"]), st.just(0)
    ),
)


@settings(max_examples=150)
@given(st.lists(ACTIONS, max_size=25), st.integers(0, 1000), st.sampled_from([1, 8]))
def test_whatever_happens_the_ends_agree_again_once_the_channel_is_good(
    actions: list[tuple[str, int]], seed: int, frames: int
) -> None:
    ends, chance = Ends(frames), random.Random(seed)
    for action, size in actions:
        match action:
            case "show":
                ends.show("h" * size)
            case "select":
                ends.select("c" * size)
            case "run":
                ends.run(size * 0.02)
            case "lose":
                ends.up, ends.down = Bad(0.3, chance.randrange(999)), Bad(0.3, chance.randrange(999))
            case "heal":
                ends.up = ends.down = whole
            case "restart daemon":
                ends.daemon = Endpoint(DAEMON, counter(chance.randrange(3000, 9000)), frames)
            case "restart script":
                ends.script = Endpoint(SCRIPT, counter(chance.randrange(3000, 9000)), frames)
            case "bye":
                for message in ends.script.goodbye():
                    ends.daemon.hear(message, ends.time)
            case "stall":
                ends.time += 5.0
    ends.up = ends.down = whole
    ends.show("the end")
    ends.select("the last")
    ends.run(8.0)
    assert ends.agree()


def test_a_hundred_thousand_frames_of_nonsense_leave_a_session_as_it_was_and_memory_bounded() -> None:
    chance = random.Random(2)
    ends = Ends().run(0.5)
    good = [message for tick in ends.sent for message in tick]
    good += [
        pack_frame(Frame(SCRIPT, 2001, 1001, chance.randbytes(40), True, True, n, 0)) for n in range(128)
    ]
    before, known = ends.daemon.own, ends.daemon.peer
    for _ in range(100_000):
        message = bytearray(chance.choice(good))
        message[chance.randrange(len(message))] = chance.randrange(256)
        if bytes(message) not in good:
            ends.daemon.hear(bytes(message), ends.time)
    assert (ends.daemon.own, ends.daemon.peer) == (before, known)
    assert len(ends.daemon._partial) == 0
    assert ends.run(0.5).agree()


def test_a_message_that_goes_on_for_ever_is_thrown_away() -> None:
    ends = Ends().run(0.5)
    daemon, number = ends.daemon, ends.daemon._expected
    for index in range(1000):
        frame = Frame(SCRIPT, daemon.peer, daemon.own, bytes(800), True, True, (number + index) % 128, 0)
        daemon.hear(pack_frame(frame), ends.time)
        assert len(daemon._partial) <= 16_800


def test_time_that_goes_back_is_taken_as_standing_still() -> None:
    ends = Ends().run(0.5)
    assert ends.script.due(ends.time - 50.0) == []
    ends.daemon.hear(b"\xf0\x7d\x50\x42\xf7", ends.time - 50.0)
    assert ends.run(1.0).agree()


def test_ids_of_a_session_differ_from_those_of_the_last() -> None:
    ends = Ends().run(0.5)
    seen = [ends.daemon.own]
    for start in (3000, 4000, 5000):
        ends.script = Endpoint(SCRIPT, counter(start), 1)
        ends.run(2.0)
        seen.append(ends.daemon.own)
    assert all(a != b for a, b in pairwise(seen))
