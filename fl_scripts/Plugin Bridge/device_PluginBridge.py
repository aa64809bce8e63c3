# name=Plugin Bridge
# url=https://forum.image-line.com/viewforum.php?f=1994
# supportedDevices=Plugin Bridge Out,Plugin Bridge

"""The controller script of Plugin Bridge: FL Studio calls the functions below, `bridge_script` does the work.

FL Studio may initialise a script several times in one interpreter, and disables one that raises: each
function builds on what `OnInit` made last, and lets no exception out.
"""

import bridge_script

_bridge = None
_told = set()


def _guarded(act, *values):
    """Call `act`; an exception is printed once, in View > Script output, and goes no further."""
    try:
        return act(*values)
    except Exception as error:
        text = "Plugin Bridge: " + type(error).__name__ + ": " + str(error)
        if text not in _told and len(_told) < 20:
            _told.add(text)
            print(text)
    return None


def _with_bridge(name, *values):
    if _bridge is not None:
        _guarded(getattr(_bridge, name), *values)


def OnInit():
    global _bridge
    _with_bridge("close", "reload")
    _bridge = None
    _bridge = _guarded(bridge_script.start)


def OnDeInit():
    global _bridge
    _with_bridge("close", "unload")
    _bridge = None


def OnMidiMsg(event):
    _with_bridge("hear", event)


def OnSysEx(event):
    _with_bridge("hear_sysex", event)


def OnIdle():
    _with_bridge("idle")


def OnProjectLoad(status):
    _with_bridge("project", status)
