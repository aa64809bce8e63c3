"""The controller script inside a strict FL Studio, with the program at the other end."""

from __future__ import annotations

import random

import pytest
from fakes.fl_host import FlHost
from fakes.fl_pair import Bad, Pair, counter
from hypothesis import given, settings
from hypothesis import strategies as st

from plugin_bridge.ports.fl_endpoint import DAEMON_SILENCE
from plugin_bridge.ports.fl_link import FlLink
from plugin_bridge.ports.fl_protocol import DAEMON, Frame, pack_frame, write_message

ON, OFF = b"\x90\x3c\x50", b"\x80\x3c\x40"
RIGHT_AFTER = 0.016  # seconds, right after a change: FL's tick of 5 ms at 120, its buffer of 12, the way


def position_error(pair: Pair) -> float:
    """Seconds between where the program thinks FL is and where it is."""
    position = pair.link.at(pair.time).timeline.position(pair.time)
    assert position is not None
    return (position - pair.host.position()) * 60 / pair.host.tempo


def test_the_program_knows_fl_and_fl_shows_it() -> None:
    pair = Pair().start()
    state = pair.link.at(pair.time)
    assert (state.script_version, state.host_version, state.channel_name) == ("0.1.0", "24.2.2", "Piano")
    assert (state.channel, state.project, state.loading, state.problem) == (1, 1, False, None)
    assert state.timeline.alive
    assert pair.host.hint == "Plugin Bridge: connected"
    pair.link.show("evans answers")
    pair.run(0.3)
    assert pair.host.hint == "evans answers"
    pair.host.finish()


@pytest.mark.parametrize("tempo", [60.0, 97.0, 174.0])
def test_transport_tempo_and_position_are_known_while_fl_plays(tempo: float) -> None:
    pair = Pair().start()
    pair.host.tempo = tempo
    pair.host.play()
    for passed in range(1, 60):
        pair.run(0.11)
        timeline = pair.link.at(pair.time).timeline
        assert timeline.playing
        assert timeline.tempo == tempo
        # At first as exact as FL's ticks (10 ms at 60) and its buffer, then better.
        assert abs(position_error(pair)) < (0.006 if passed > 18 else 0.022)
    generation = pair.link.at(pair.time).timeline.generation
    pair.host.stop()
    pair.run(0.05)
    stopped = pair.link.at(pair.time).timeline
    assert (stopped.playing, stopped.alive) == (False, True)
    assert stopped.generation == generation + 1
    pair.host.finish()


def test_a_jump_a_loop_wrap_and_a_tempo_change_are_known_within_45_ms() -> None:
    pair = Pair().start()
    host = pair.host
    host.tempo = 97.0
    host.play()
    pair.run(2.0)
    before = pair.link.at(pair.time).timeline.generation
    host.jump(40.0)
    pair.run(0.045)
    assert pair.link.at(pair.time).timeline.generation == before + 1
    assert abs(position_error(pair)) < RIGHT_AFTER
    host.tempo = 133.0
    pair.run(0.045)
    assert pair.link.at(pair.time).timeline.tempo == 133.0
    assert pair.link.at(pair.time).timeline.generation == before + 1
    assert abs(position_error(pair)) < RIGHT_AFTER
    host.selection = (40 * 96, 48 * 96)
    pair.run(0.1)
    assert pair.link.at(pair.time).loop == (40.0, 48.0)
    host.jump(47.9)
    pair.run(0.045)
    assert abs(position_error(pair)) < RIGHT_AFTER
    generation = pair.link.at(pair.time).timeline.generation
    pair.run(0.045)
    assert host.position() < 41.0  # it has wrapped
    assert pair.link.at(pair.time).timeline.generation == generation + 1
    assert abs(position_error(pair)) < RIGHT_AFTER
    host.finish()


@pytest.mark.parametrize("quarters", [-1.0, -0.25, 0.25, 1.0])
def test_even_a_jump_by_a_sixteenth_is_a_jump(quarters: float) -> None:
    pair = Pair().start()
    pair.host.play()
    pair.run(1.5)
    before = pair.link.at(pair.time).timeline.generation
    pair.host.jump(pair.host.position() + quarters)
    pair.run(0.06)
    assert pair.link.at(pair.time).timeline.generation == before + 1
    assert abs(position_error(pair)) < RIGHT_AFTER
    pair.host.finish()


@pytest.mark.parametrize("buffer", [0.0029, 0.0116, 0.0464], ids=["128", "512", "2048 samples"])
def test_steady_playing_is_one_run_at_any_buffer_size(buffer: float) -> None:
    pair = Pair(buffer=buffer).start()
    pair.host.play()
    pair.run(0.5)
    generation = pair.link.at(pair.time).timeline.generation
    pair.run(60.0)
    assert pair.link.at(pair.time).timeline.generation == generation
    assert abs(position_error(pair)) < 0.006
    pair.host.finish()


def test_a_tempo_that_is_automated_is_one_run() -> None:
    pair = Pair().start()
    pair.host.play()
    pair.run(0.5)
    generation = pair.link.at(pair.time).timeline.generation
    for index in range(400):
        pair.host.tempo = 100 + index * 0.2
        pair.run(0.02)
    assert pair.link.at(pair.time).timeline.generation == generation
    assert abs(position_error(pair)) < 0.012
    pair.host.finish()


def test_pattern_mode_three_four_time_recording_and_the_channel_are_told() -> None:
    pair = Pair().start()
    host = pair.host
    host.song_mode, host.pattern_beats, host.bar, host.recording = False, 8, 288, True
    host.selected = 2
    pair.run(0.3)
    state = pair.link.at(pair.time)
    assert (state.song_mode, state.loop, state.recording) == (False, (0.0, 8.0), True)
    assert (state.timeline.beats_in_bar, state.timeline.sixteenths) == (3, 4)
    assert (state.channel, state.channel_name) == (2, "Bass")
    host.selected = -1
    pair.run(0.3)
    assert pair.link.at(pair.time).channel == -1
    host.finish()


def test_a_project_that_is_opened_is_told() -> None:
    pair = Pair().start()
    pair.host.loading = True
    pair.host._call("OnProjectLoad", 0)
    pair.run(0.3)
    assert pair.link.at(pair.time).loading
    pair.host.load_project()
    pair.run(0.3)
    state = pair.link.at(pair.time)
    assert (state.project, state.loading) == (2, False)
    pair.host.finish()


def test_the_partners_notes_play_natively_and_are_not_sent_back() -> None:
    pair = Pair().start()
    pair.run(2.0)
    pair.host.play()
    for message in (ON, b"\xb0\x40\x7f", OFF, b"\xb0\x40\x00"):
        pair.say(message)
        pair.run(0.1)
    assert [played.message for played in pair.host.played] == [ON, OFF]
    assert pair.heard == []
    pair.host.finish()


# what is left sounding


@pytest.mark.parametrize("playing", [True, False])
@pytest.mark.parametrize("after", [0.0, 0.07, 0.31])
def test_when_the_program_dies_all_notes_are_off_within_a_second(playing: bool, after: float) -> None:
    pair = Pair().start()
    pair.host.playing = playing
    for pitch in (48, 60, 67):
        pair.say(bytes((0x90, pitch, 80)))
    pair.run(after)
    pair.alive = False
    pair.run(0.3)
    assert len(pair.host.sounding()) == 3  # a program that is merely late is given its time
    pair.run(0.7)
    assert pair.host.sounding() == []
    assert pair.host.hint == "Plugin Bridge: the program does not answer"
    pair.alive = True
    pair.run(0.5)
    assert pair.link.linked
    pair.host.finish()


@pytest.mark.parametrize("stalled", [True, False])
def test_a_program_that_is_started_again_at_once_does_not_leave_the_old_ones_notes(stalled: bool) -> None:
    pair = Pair().start()
    pair.say(ON)
    pair.link = FlLink(new_id=counter(3000))
    pair.host.idle_stopped = stalled
    pair.run(1.0)
    assert pair.host.sounding() == []
    pair.host.idle_stopped = False
    pair.run(0.5)
    assert pair.link.linked
    pair.host.finish()


def test_when_the_program_says_goodbye_notes_are_off_at_once() -> None:
    pair = Pair().start()
    pair.say(ON)
    for message in pair.link.close():
        pair.say(message)
    assert pair.host.sounding() == []
    pair.host.finish()


def test_when_fl_stops_the_partners_notes_are_off_and_may_begin_again() -> None:
    pair = Pair().start()
    pair.host.play()
    pair.run(0.2)
    pair.say(ON)
    pair.host.stop()
    pair.run(0.03)
    assert pair.host.sounding() == []
    pair.say(ON)
    pair.run(0.5)
    assert pair.host.sounding() == [("Piano", 60)]
    assert pair.link.at(pair.time).released == 1
    pair.link.panic()
    pair.run(0.1)
    assert pair.host.sounding() == []
    pair.run(0.1)
    assert pair.link.at(pair.time).released == 2
    pair.host.finish()


@pytest.mark.parametrize("goodbye", [True, False])
def test_a_reload_releases_what_sounds_and_the_link_is_back_soon(goodbye: bool) -> None:
    pair = Pair().start()
    pair.host.play()
    pair.run(1.0)
    pair.say(ON)
    pair.host.reload(goodbye=goodbye)
    assert pair.host.sounding() == []
    pair.run(0.5)
    assert pair.link.linked
    assert pair.link.at(pair.time).channel_name == "Piano"
    assert abs(position_error(pair)) < RIGHT_AFTER
    pair.host.finish()


def test_on_init_many_times_over_does_no_harm() -> None:
    pair = Pair().start()
    for _ in range(5):
        pair.host._call("OnInit")
    pair.run(1.5)
    assert pair.link.linked
    pair.host.finish()


@pytest.mark.parametrize("api", [20, 37])
def test_while_a_dialog_is_open_what_must_be_released_waits_and_nothing_complains(api: int) -> None:
    pair = Pair(api=api).start()
    pair.say(ON)
    pair.host.modal = True
    pair.say(b"\x90\x40\x50")
    pair.alive = False
    pair.run(2.0)
    assert len(pair.host.sounding()) == 2
    pair.host.modal = False
    pair.run(0.03)
    assert pair.host.sounding() == []
    pair.host.finish()


def test_a_reload_while_a_dialog_is_open_leaves_nothing_sounding_in_the_end() -> None:
    pair = Pair().start()
    pair.say(ON)
    pair.host.modal = True
    pair.host.reload()
    pair.run(1.0)
    pair.host.modal = False
    pair.run(0.03)
    assert pair.host.sounding() == []
    pair.host.finish()


def test_a_note_struck_again_before_it_could_be_released_is_not_cut_off() -> None:
    pair = Pair().start()
    pair.say(ON)
    pair.host.modal = True
    pair.link.panic()
    pair.run(0.1)
    pair.say(OFF)
    pair.say(ON)
    pair.host.modal = False
    pair.run(0.2)
    assert pair.host.sounding() == [("Piano", 60)]
    pair.say(OFF)
    pair.host.finish()


def test_a_project_is_loaded_while_notes_sound() -> None:
    pair = Pair().start()
    pair.say(ON)
    pair.host.load_project(seconds=2.0)
    pair.run(0.1)
    assert pair.host.sounding() == []
    pair.host.finish()


def test_notes_that_outlive_the_loading_of_a_project_are_released() -> None:
    pair = Pair().start()
    pair.say(ON)
    pair.host.loading = True
    pair.host._call("OnProjectLoad", 0)
    pair.run(0.1)
    pair.host.loading = False
    pair.host._call("OnProjectLoad", 101)
    pair.run(0.03)
    assert pair.host.sounding() == []
    pair.host.finish()


def test_the_channel_of_a_note_may_be_deleted_or_another_selected_while_it_sounds() -> None:
    pair = Pair().start()
    pair.host.selected = 2
    pair.say(ON)
    pair.host.selected = 0
    pair.say(b"\x90\x30\x50")
    pair.alive = False
    pair.run(1.0)
    assert pair.host.sounding() == []
    pair.alive = True
    pair.run(0.5)
    pair.host.selected = 2
    pair.say(ON)
    del pair.host.channels[2]
    pair.host.selected = 0
    pair.alive = False
    pair.run(1.0)
    pair.host.finish()


def test_the_idle_loop_stops_for_five_seconds() -> None:
    pair = Pair().start()
    pair.host.tempo = 97.0
    pair.host.play()
    pair.run(1.0)
    before = pair.link.at(pair.time).timeline
    pair.say(ON)
    pair.host.idle_stopped = True
    pair.run(5.0)
    gone = pair.link.at(pair.time).timeline
    assert (gone.alive, gone.playing) == (False, False)
    pair.host.idle_stopped = False
    pair.run(0.1)
    back = pair.link.at(pair.time).timeline
    assert back.playing
    assert back.generation > gone.generation > before.generation
    assert abs(position_error(pair)) < RIGHT_AFTER
    pair.say(OFF)
    pair.host.finish()


def test_the_idle_loop_stops_and_the_program_dies_meanwhile() -> None:
    pair = Pair().start()
    pair.say(ON)
    pair.host.idle_stopped, pair.alive = True, False
    pair.run(5.0)
    pair.host.idle_stopped = False
    pair.run(0.02)
    assert pair.host.sounding() == []
    pair.host.finish()


# what does not come through


@pytest.mark.parametrize("callback", ["both", "OnSysEx", "OnMidiMsg"])
def test_sysex_is_heard_in_whichever_callback_it_comes(callback: str) -> None:
    pair = Pair(sysex_callback=callback).start()
    assert pair.link.linked
    pair.host.finish()


@pytest.mark.parametrize("later", [0.0, 2.3, 4.0, 5.9, 60.0])
@pytest.mark.parametrize(
    ("out", "into", "within"),
    [(True, True, 0.2), (True, False, 2.5), (False, True, 2.5), (False, False, 8.0)],
)
def test_whenever_the_program_starts_control_changes_are_used_where_sysex_is_dropped_and_nowhere_else(
    out: bool, into: bool, within: float, later: float
) -> None:
    pair = Pair(sysex_out=out, sysex_in=into)
    pair.host.start()
    pair.alive = False
    pair.run(later)
    pair.alive = True
    pair.run(within)
    assert pair.link.linked
    pair.run(10.0)
    assert pair.link.linked
    heard = len(pair.host.arrived)
    told: list[bytes] = []
    pair.down = lambda message: [told.append(message) or message]
    pair.run(1.0)
    assert {message[0] == 0xF0 for _, message in pair.host.arrived[heard:]} == {out}
    assert {message[0] == 0xF0 for message in told} == {into}
    pair.host.finish()


def test_a_program_that_nobody_answers_sends_no_control_changes() -> None:
    link, sent = FlLink(new_id=counter(100)), []
    for tick in range(3000):
        sent += link.frames_due(tick * 0.02)
    assert len(sent) >= 60 / 0.25
    assert {message[0] for message in sent} == {0xF0}


@pytest.mark.parametrize("dropped", [("sysex_out",), ("sysex_in",), ("sysex_out", "sysex_in")])
def test_where_sysex_is_dropped_control_changes_carry_the_link(dropped: tuple[str, ...]) -> None:
    pair = Pair(sysex_in="sysex_in" not in dropped, sysex_out="sysex_out" not in dropped).start()
    pair.host.play()
    pair.run(8.0)
    assert pair.link.linked
    assert pair.link.at(pair.time).channel_name == "Piano"
    assert abs(position_error(pair)) < RIGHT_AFTER
    assert pair.host.hint == "Plugin Bridge: connected"
    generation = pair.link.at(pair.time).timeline.generation
    pair.host.jump(64.0)
    pair.run(0.05)
    assert pair.link.at(pair.time).timeline.generation == generation + 1
    assert abs(position_error(pair)) < RIGHT_AFTER
    pair.say(ON)
    pair.alive = False
    pair.run(1.0)
    assert pair.host.sounding() == []
    pair.host.finish()


@pytest.mark.parametrize("port", [None, 11])
def test_a_wrong_port_number_is_told_and_harmless(port: int | None) -> None:
    pair = Pair(output_port=port).start()
    pair.say(ON)
    pair.run(8.0)
    assert not pair.link.linked
    assert pair.host.arrived == []
    assert pair.host.hint.endswith("see the Port number of the output")
    assert pair.host.sounding() == [("Piano", 60)]
    pair.host.finish()


def test_an_input_that_does_not_hear_the_program_is_told_at_the_program() -> None:
    pair = Pair()
    pair.down = lambda message: []
    pair.start()
    assert pair.link.at(pair.time).problem is None
    pair.run(6.0)
    assert "does not hear this program" in (pair.link.at(pair.time).problem or "")
    pair.host.finish()


def test_a_script_of_another_version_is_told_on_both_sides() -> None:
    pair = Pair().start()

    def later(message: bytes) -> list[bytes]:
        return [message[:4] + b"\x02" + message[5:] if message[0] == 0xF0 else message]

    pair.up = pair.down = later
    pair.run(1.0)
    assert "version 2 of the link" in (pair.link.at(pair.time).problem or "")
    assert "differ in version" in pair.host.hint or "does not answer" in pair.host.hint
    pair.host.finish()


@pytest.mark.parametrize("seed", range(5))
def test_lost_doubled_and_swapped_frames_leave_nothing_wrong(seed: int) -> None:
    pair = Pair().start()
    pair.up, pair.down = Bad(0.25, seed), Bad(0.25, seed + 50)
    pair.host.play()
    for index in range(20):
        pair.host.selected = index % 3
        pair.link.show(f"hint {index}")
        pair.run(0.2)
    pair.up = pair.down = lambda message: [message]
    pair.run(3.0)
    state = pair.link.at(pair.time)
    assert state.channel_name == pair.host.channels[pair.host.selected].name
    assert pair.host.hint == "hint 19"
    assert abs(position_error(pair)) < RIGHT_AFTER
    pair.host.finish()


@pytest.mark.parametrize(("platform", "most"), [("win32", 1), ("darwin", 8)])
def test_no_frame_is_too_long_and_none_too_many_in_a_tick(platform: str, most: int) -> None:
    pair = Pair(platform=platform).start()
    pair.host.play()
    for index in range(300):
        pair.host.channels[1].name = f"a name that changes all the time {index}" * 5
        pair.host.turn(20 + index % 5, index % 128)
        pair.run(0.02)
    assert pair.host.dropped == []
    assert max(pair.host.sent_in_tick) <= most
    assert max(len(message) for _, message in pair.host.arrived) <= 1010
    pair.host.finish()


def test_sysex_that_is_too_long_or_broken_or_anothers_is_passed_over() -> None:
    pair = Pair().start()
    frame = pack_frame(Frame(DAEMON, 100, 5))
    for message in (
        b"\xf0" + bytes(5000) + b"\xf7", b"\xf0\x7d\xf7", frame[:-5] + b"\xf7", b"\xf0\xf7", b"\xf0",
        b"\xf0\x7e\x7f\x06\x01\xf7",
    ):  # fmt: skip
        pair.say(message)
    pair.run(0.3)
    assert pair.link.linked
    pair.host.finish()


def test_a_burst_of_a_thousand_frames_is_heard_and_answered_at_the_same_pace() -> None:
    pair = Pair().start()
    for message in [pack_frame(Frame(DAEMON, 100, 0, write_message("panic")))] * 1000:
        pair.say(message)
    pair.run(0.5)
    assert max(pair.host.sent_in_tick) == 1
    assert pair.link.linked
    pair.host.finish()


def test_a_hundred_thousand_frames_of_nonsense_do_nothing() -> None:
    chance = random.Random(3)
    pair = Pair().start()
    pair.say(ON)
    good = [
        pack_frame(Frame(DAEMON, chance.randrange(1, 16384), 5, chance.randbytes(20), True, number=n))
        for n in range(50)
    ]
    for index in range(100_000):
        message = bytearray(chance.choice(good)) if index % 3 else bytearray(chance.randbytes(30))
        message[chance.randrange(1, len(message))] = chance.randrange(128)
        message[0] = 0xF0
        if bytes(message) not in good:
            pair.host.deliver(bytes(message))
        if index % 5000 == 0:
            pair.run(0.02)
    pair.run(0.3)
    assert pair.link.linked
    assert pair.host.sounding() == [("Piano", 60)]
    pair.say(OFF)
    pair.host.finish()


def test_ten_minutes_of_play_stop_and_jump_stay_within_the_budget_and_the_pace() -> None:
    pair, chance = Pair().start(), random.Random(5)
    host, held = pair.host, set()
    for _ in range(30_000):
        if chance.random() < 0.1:
            pitch = chance.randrange(36, 96)
            pair.say(bytes((0x80 if pitch in held else 0x90, pitch, 70)))
            held ^= {pitch}
        if chance.random() < 0.1:
            host.turn(20 + chance.randrange(8), chance.randrange(128))
        if chance.random() < 0.01:
            pair.link.show("evans " * chance.randrange(300))
        if chance.random() < 0.005:
            host.playing = not host.playing
        if chance.random() < 0.005:
            host.jump(chance.randrange(100))
        pair.run(0.02)
    host.assert_within_budget(0.002)
    assert host.dropped == []
    assert max(host.sent_in_tick) == 1
    assert sum(len(message) for _, message in host.arrived) / 600 < 3000  # bytes a second
    host.finish()


# knobs and keyboards


def keyboard(link: FlLink, heard: list[bytes]) -> FlHost:
    """A second input of FL's with the script: a keyboard's, which does not hear the program."""

    def to_link(message: bytes) -> None:
        if not link.hear(message, host.time):
            heard.append(message)

    host = FlHost(to_link)
    host.start()
    host.advance(1.5)
    return host


def values(link: FlLink) -> list[int]:
    return [each.message[2] for each in link.knobs.take()]


def test_knobs_of_any_controller_reach_the_program() -> None:
    link = FlLink(new_id=counter(100))
    pair = Pair(link).start()
    keys = keyboard(link, [])
    for value in (0, 64, 127):
        keys.turn(21, value, channel=3)
        keys.advance(0.1)
    assert [each.message for each in link.knobs.take()] == [b"\xb3\x15\x00", b"\xb3\x15\x40", b"\xb3\x15\x7f"]
    assert pair.link.linked
    keys.finish()
    pair.host.finish()


def test_a_button_pressed_and_released_within_a_tick_is_both() -> None:
    link = FlLink(new_id=counter(100))
    keys = keyboard(link, [])
    for _ in range(2):
        keys.turn(40, 127)
        keys.turn(40, 0)
        keys.advance(0.2)
    assert values(link) == [127, 0, 127, 0]
    keys.finish()


def test_a_knob_swept_fast_ends_where_it_was_left_even_when_half_of_the_frames_are_lost() -> None:
    link = FlLink(new_id=counter(100))
    chance = random.Random(4)
    host = FlHost(lambda message: chance.random() < 0.5 and link.hear(message, host.time))
    host.start()
    host.advance(1.5)
    for value in range(128):
        host.turn(21, value)
        host.advance(0.003)
    host.advance(0.5)
    assert values(link)[-1] == 127
    host.finish()


def test_a_keyboards_notes_go_to_fl_and_to_the_program_and_its_last_one_is_released() -> None:
    heard: list[bytes] = []
    keys = keyboard(FlLink(), heard)
    for message in (ON, b"\xb0\x40\x7f", OFF, b"\x90\x40\x50"):
        keys.deliver(message)
        keys.advance(0.1)
    assert heard == [ON, b"\xb0\x40\x7f", OFF, b"\x90\x40\x50"]
    assert [played.message for played in keys.played] == [ON, OFF, b"\x90\x40\x50"]
    keys.reload()
    assert heard[-1] == b"\x80\x40\x40"
    keys.deliver(b"\x80\x40\x40")
    keys.finish()


def test_a_keyboards_notes_are_the_players_and_are_not_cut_off_when_fl_stops() -> None:
    keys = keyboard(FlLink(), [])
    keys.play()
    keys.advance(0.1)
    keys.deliver(ON)
    keys.stop()
    keys.advance(0.5)
    assert keys.sounding() == [("Piano", 60)]
    keys.deliver(OFF)
    keys.finish()


def test_pedal_banks_and_mode_messages_are_no_knobs() -> None:
    link = FlLink(new_id=counter(100))
    keys = keyboard(link, [])
    for number in (0, 6, 32, 38, 64, 98, 99, 100, 101, 120, 121, 123, 127):
        keys.turn(number, 127)
    keys.advance(0.5)
    assert values(link) == []
    keys.finish()


# everything at once

ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(
            ["on", "off", "play", "stop", "jump", "tempo", "die", "live", "modal", "safe", "reload", "init",
             "project", "stall", "idle", "select", "lose", "heal", "panic", "knob", "wait"]
        ),
        st.integers(0, 127),
    ),
    max_size=30,
)  # fmt: skip


@settings(max_examples=50)
@given(ACTIONS, st.sampled_from(["win32", "darwin"]), st.sampled_from([20, 37]))
def test_whatever_happens_no_note_hangs_and_the_program_knows_where_fl_is(
    actions: list[tuple[str, int]], platform: str, api: int
) -> None:
    pair = Pair(platform=platform, api=api).start()
    host = pair.host
    for action, value in actions:
        match action:
            case "on":
                pair.say(bytes((0x90, value, 80)))
            case "off":
                pair.say(bytes((0x80, value, 0)))
            case "play" | "stop":
                host.playing = action == "play"
            case "jump":
                host.jump(value)
            case "tempo":
                host.tempo = 40.0 + value
            case "die" | "live":
                pair.alive = action == "live"
            case "modal" | "safe":
                host.modal = action == "modal"
            case "reload" | "init":
                host.reload(goodbye=action == "reload")
            case "project":
                host.load_project(seconds=value / 100)
            case "stall" | "idle":
                host.idle_stopped = action == "stall"
            case "select":
                host.selected = value % 3
            case "lose":
                pair.up, pair.down = Bad(0.2, value), Bad(0.2, value + 1)
            case "heal":
                pair.up = pair.down = lambda message: [message]
            case "panic":
                pair.link.panic()
            case "knob":
                host.turn(value, value)
        pair.run(value / 200)
    pair.up = pair.down = lambda message: [message]
    pair.alive, host.modal, host.idle_stopped = True, False, False
    host.play()
    pair.run(8.0)
    assert pair.link.linked
    assert abs(position_error(pair)) < RIGHT_AFTER
    pair.alive = False
    pair.run(DAEMON_SILENCE + 0.3)
    assert host.sounding() == []
    # Of all that is sent only a goodbye may come too soon after another frame.
    assert all(message[5] & 8 for message in host.dropped)
    host.finish()
