"""The API against its own description: whatever schemathesis thinks of, the answers are as described."""

from __future__ import annotations

from typing import Any

import hypothesis
import schemathesis
from daemon.conftest import Running

from plugin_bridge.daemon.openapi import description

schema = schemathesis.openapi.from_dict(description())


@schema.parametrize()
@hypothesis.settings(
    max_examples=15, deadline=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)  # fmt: skip
def test_the_api_is_as_described(case: Any, running: Running) -> None:
    case.call_and_validate(
        base_url=f"http://127.0.0.1:{running.port}",
        headers={"Authorization": f"Bearer {running.token}"},
        timeout=20,
    )


def test_every_route_is_described(running: Running) -> None:
    app: Any = running.daemon.server._server.config.app
    paths = {route.path for route in app._app.routes if route.path.startswith("/api")}
    assert paths - {"/api/openapi.json", "/api/live", "/api/controls/{name}"} <= set(description()["paths"])


def test_the_description_is_for_everyone(running: Running) -> None:
    answer = running.raw("GET", "/api/openapi.json", {})
    assert answer.status == 200
    assert answer.json["openapi"].startswith("3.1")
