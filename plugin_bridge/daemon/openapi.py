"""The API's description (OpenAPI 3.1), made from the tables that the program itself goes by."""

from __future__ import annotations

from typing import Any

from plugin_bridge import __version__
from plugin_bridge.duet.controls import TABLE, Control, Kind
from plugin_bridge.ports.connections import LONGEST_PATTERN

LONGEST_TEXT = 300
_Schema = dict[str, Any]

_TEXT: _Schema = {"type": "string"}
_NUMBER: _Schema = {"type": "number"}
_WHOLE: _Schema = {"type": "integer"}
_MAYBE: _Schema = {"type": ["string", "null"]}
_SPREAD: _Schema = {
    "type": "object",
    "properties": {"p50": {"type": ["number", "null"]}, "p95": {"type": ["number", "null"]},
                   "p99": {"type": ["number", "null"]}, "max": {"type": ["number", "null"]}, "n": _WHOLE},
    "required": ["p50", "p95", "p99", "max", "n"],
}  # fmt: skip


def _object(**properties: _Schema) -> _Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _list(items: _Schema) -> _Schema:
    return {"type": "array", "items": items}


_HISTOGRAM = _object(edges_ms=_list(_NUMBER), counts=_list(_WHOLE))
_PORT = _object(
    name=_TEXT, direction={"enum": ["input", "output"]}, connected={"type": "boolean"},
    own={"type": "boolean"}, pattern=_TEXT, patterns=_list(_TEXT),
)  # fmt: skip
_CONTROL = _object(
    name=_TEXT, kind={"enum": [kind.value for kind in Kind]}, default=_NUMBER, low=_NUMBER, high=_NUMBER,
    unit=_TEXT, controller=_WHOLE, what=_TEXT, choices=_list(_TEXT), shown=_TEXT,
    value={"type": ["number", "null"]},
)  # fmt: skip
_TAKE = _object(name=_TEXT, saved=_TEXT, size=_WHOLE, replayable={"type": "boolean"})
_DESCRIPTION = (
    "Control of the bridge daemon, on loopback only. Every request but the one for this description wants "
    "the token, which `plugin-bridge status --token` prints. The WebSocket /api/live sends what is played "
    "as it is played; docs/daemon.md says in what form."
)
SCHEMAS: dict[str, _Schema] = {
    "Error": _object(error=_TEXT),
    "State": _object(
        version=_TEXT, pid=_WHOLE, uptime_s=_NUMBER, duet={"enum": ["playing", "starting", "failed"]},
        problem=_MAYBE, style=_TEXT, mode=_TEXT, mute={"type": "boolean"}, restarts=_WHOLE, transport=_TEXT,
        connected=_list(_TEXT), problems=_list(_TEXT), restart_needed=_list(_TEXT), playing_take=_MAYBE,
        pace=_TEXT, host_tempo={"type": ["number", "null"]},
    ),
    "Metrics": _object(
        process={"type": "object"}, report={"type": "object", "properties": {"reaction_ms": _SPREAD}},
        reaction=_HISTOGRAM, lateness=_HISTOGRAM,
    ),
    "Controls": _object(controls=_list(_CONTROL)),
    "Control": _object(name=_TEXT, value=_NUMBER, shown=_TEXT),
    "Knobs": _object(
        knobs=_list(_object(control=_TEXT, channel=_WHOLE, number=_WHOLE)), learning=_MAYBE
    ),
    "Styles": _object(styles=_list(_TEXT), current=_TEXT),
    "Style": _object(style=_TEXT),
    "Ports": _object(
        transport=_TEXT, ports=_list(_PORT), problems=_list(_TEXT),
        waiting=_list(_object(direction={"enum": ["input", "output"]}, pattern=_TEXT)),
    ),
    "Takes": _object(takes=_list(_TAKE), playing=_MAYBE),
    "Take": _object(name=_TEXT),
    "Played": _object(name=_TEXT, seconds=_NUMBER),
    "PianoRoll": _object(name=_TEXT, folders=_list(_TEXT)),
    "Done": _object(done={"const": True}),
}  # fmt: skip
"""What is answered, by name."""


def value_schema(row: Control) -> _Schema:
    """The values that a control takes as JSON."""
    number: _Schema = {"type": "number", "minimum": row.low, "maximum": row.high}
    match row.kind:
        case Kind.NUMBER:
            return number
        case Kind.WHOLE:
            return {**number, "type": "integer"}
        case Kind.CHOICE:
            return {"enum": list(row.choices)}
        case Kind.SWITCH | Kind.TRIGGER:
            return {"type": "boolean"}


def description() -> dict[str, Any]:
    """The whole document."""
    paths: dict[str, Any] = {
        "/api/state": {"get": _operation("How the daemon and the duet are", "State")},
        "/api/metrics": {"get": _operation("Measurements of the duet and of the process", "Metrics", 503)},
        "/api/controls": {"get": _operation("The control table, with the values as they are", "Controls")},
        "/api/knobs": {"get": _operation("The knobs and buttons that were learned", "Knobs")},
        "/api/learning": {"put": _operation(
            "Learn the next knob that moves for a control; null: do not learn", "Knobs", 400, 415, 503,
            body=_body(control={"enum": [row.name for row in TABLE] + [None]}))},
        "/api/learning/{name}": {"get": {
            **_operation("Answers when the knob of this control is not waited for any more, or after some "
                         "seconds", "Knobs", 400),
            "parameters": [{"name": "name", "in": "path", "required": True,
                            "schema": {"enum": [row.name for row in TABLE]}}]}},
        "/api/knobs/{name}": {"delete": {
            **_operation("No knob stands for this control any more", "Knobs", 404),
            "parameters": [{"name": "name", "in": "path", "required": True,
                            "schema": {"enum": [row.name for row in TABLE]}}]}},
        "/api/styles": {"get": _operation("The styles that are installed", "Styles")},
        "/api/style": {"put": _operation(
            "Play in another style or blend from the next phrase on", "Style", 400, 404, 415,
            body=_body(style={"type": "string", "minLength": 1, "maxLength": LONGEST_TEXT}))},
        "/api/panic": {"post": _operation("Everything off, now", "Done")},
        "/api/test-note": {"post": _operation("Play one note to all outputs", "Done")},
        "/api/ports": {"get": _operation("The MIDI ports there are, and which are connected", "Ports")},
        "/api/connections": {"put": _operation(
            "Connect a port whenever it is there, or no longer; remembered", "Ports", 400, 404, 409, 415,
            body=_body(direction={"enum": ["input", "output"]}, connect={"type": "boolean"},
                       pattern={"type": "string", "minLength": 1, "maxLength": LONGEST_PATTERN}))},
        "/api/takes": {
            "get": _operation("The takes there are, the newest first", "Takes"),
            "post": _operation("Save the latest minutes", "Take", 400, 503),
        },
        "/api/takes/stop": {"post": _operation("End the take that is played", "Done")},
        "/api/takes/{name}/midi": {"get": _midi()},
        "/api/takes/{name}/play": {"post": _operation("Play a take", "Played", 400, 404, take=True)},
        "/api/takes/{name}/piano-roll": {"post": _operation(
            "Put a take into FL Studio's piano roll menu", "PianoRoll", 400, 404, take=True)},
    }  # fmt: skip
    for row in TABLE:
        what = _operation(
            f"Set {row.name}: {row.what}", "Control", 400, 415, 503, body=_body(value=value_schema(row))
        )
        paths[f"/api/controls/{row.name}"] = {"put": what}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Plugin Bridge",
            "version": __version__,
            "description": _DESCRIPTION,
        },
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


_REASONS = {
    400: "A value that cannot be",
    404: "What is named is not there",
    409: "There is no room for another one",
    415: "A body that is no JSON",
    503: "The duet is just being started",
}


def _operation(
    summary: str, answer: str, *refusals: int, body: _Schema | None = None, take: bool = False
) -> dict[str, Any]:
    responses: dict[str, Any] = {"200": _answer("Done", answer)}
    responses["401"] = _answer("The token is missing or wrong", "Error")
    responses["403"] = _answer("A foreign Host or Origin", "Error")
    responses["413"] = _answer("A body that is too long", "Error")
    responses |= {str(status): _answer(_REASONS[status], "Error") for status in refusals}
    operation: dict[str, Any] = {"summary": summary, "responses": responses}
    if body is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    if take:
        operation["parameters"] = [_TAKE_NAME]
    return operation


_TAKE_NAME: _Schema = {
    "name": "name", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1},
}  # fmt: skip


def _midi() -> dict[str, Any]:
    operation = _operation("The MIDI file of a take", "Error", 404, take=True)
    operation["responses"]["200"] = {
        "description": "Both parts",
        "content": {"audio/midi": {"schema": {"type": "string", "format": "binary"}}},
    }
    return operation


def _answer(what: str, schema: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"description": what, "content": content}


def _body(**properties: _Schema) -> _Schema:
    return _object(**properties)
