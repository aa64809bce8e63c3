from hypothesis import given
from hypothesis import strategies as st

from plugin_bridge.duet.sounding import Sounding
from plugin_bridge.music.events import Event, NoteOff, NoteOn, Part, Pedal

PARTNER = Part.PARTNER
EVENTS = st.lists(
    st.one_of(
        st.builds(NoteOn, st.just(0.0), st.integers(60, 63), st.integers(1, 127)),
        st.builds(NoteOff, st.just(0.0), st.integers(60, 63)),
        st.builds(Pedal, st.just(0.0), st.booleans()),
    ),
    max_size=40,
)


def test_a_restrike_closes_the_old_note_first() -> None:
    sounding = Sounding()
    sounding.filter(NoteOn(1.0, 60, 80, PARTNER))
    again = NoteOn(2.0, 60, 90, PARTNER)
    assert sounding.filter(again) == [NoteOff(2.0, 60, PARTNER), again]
    assert sounding.held == {60}


def test_the_off_of_a_silent_note_is_not_sent() -> None:
    sounding = Sounding()
    assert sounding.filter(NoteOff(1.0, 60)) == []
    sounding.filter(NoteOn(1.0, 60, 80))
    assert sounding.filter(NoteOff(2.0, 60)) == [NoteOff(2.0, 60)]
    assert sounding.filter(NoteOff(2.0, 60)) == []


def test_a_pedal_that_does_not_move_is_not_sent() -> None:
    sounding = Sounding()
    assert sounding.filter(Pedal(0.0, False)) == []
    assert sounding.filter(Pedal(1.0, True)) == [Pedal(1.0, True)]
    assert sounding.filter(Pedal(2.0, True)) == []
    assert sounding.pedal_down
    assert sounding.filter(Pedal(3.0, False)) == [Pedal(3.0, False)]
    assert not sounding.pedal_down


def test_release_lets_the_pedal_and_every_note_go_once() -> None:
    sounding = Sounding()
    for event in (NoteOn(0.0, 67, 80, PARTNER), NoteOn(0.0, 60, 80), Pedal(0.0, True, PARTNER)):
        sounding.filter(event)
    assert sounding.release(5.0) == [Pedal(5.0, False, PARTNER), NoteOff(5.0, 60), NoteOff(5.0, 67, PARTNER)]
    assert sounding.release(6.0) == []
    assert (sounding.held, sounding.pedal_down) == (frozenset(), False)


@given(EVENTS)
def test_what_is_sent_alternates_for_each_key_and_ends_in_silence(events: list[Event]) -> None:
    sounding = Sounding()
    sent = [out for event in events for out in sounding.filter(event)]
    assert [event for event in sent if isinstance(event, NoteOn)] == [
        event for event in events if isinstance(event, NoteOn)
    ]
    sent += sounding.release(1.0)
    for pitch in range(60, 64):
        strokes = [isinstance(e, NoteOn) for e in sent if not isinstance(e, Pedal) and e.pitch == pitch]
        assert strokes == [True, False] * (len(strokes) // 2)
    moves = [event.down for event in sent if isinstance(event, Pedal)]
    assert moves == [True, False] * (len(moves) // 2)
