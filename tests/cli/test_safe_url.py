"""`--safe-url` as a user meets it: what the signers of a Safe are about to do, over HTTP."""

import json
import time
from pathlib import Path
from typing import Any

from tests.cli.command import Run
from tests.cli.test_live import on_localhost
from tests.cli.test_manifest_targets import reach
from verifier.lab.knobs import Knobs
from verifier.lab.response import NOT_FOUND, Response, answer_json
from verifier.lab.safe_service import queue
from verifier.lab.serve import serve
from verifier.lab.world import build

PLACE = "/api/v1/safes/0x"


def test_a_service_that_answers_is_named_and_one_that_does_not_is_a_warning(
    run: Run, tmp_path: Path
) -> None:
    now = int(time.time())  # noqa: TID251 - the command reads the clock too
    world = build(Knobs(now=now, governance="safe"))
    gone: list[str] = []

    def respond(_method: str, url: str, *_: Any) -> Response:
        return answer_json(200, queue(())) if PLACE in url and not gone else NOT_FOUND

    with on_localhost(world) as port, serve(respond) as at:
        (_, other), *_ = at.routes.values()
        named = ["--safe-url", f"http://safe.localhost:{other}/tx/"]
        asked = [world.app_id, *reach(world, port, tmp_path / "reference.json"), *named]
        told = json.loads(run(*asked, "--no-cache", "--format", "json").out)
        gone.append("now")
        refused = json.loads(run(*asked, "--no-cache", "--format", "json").out)
    service = f"http://safe.localhost:{other}/tx"
    assert told["pending"] == []
    assert {item["look"] for item in told["outlook"]} == {"what a service says"}
    assert {item["source"] for item in told["outlook"]} == {service}
    assert _status(told) == "pass"
    assert {item["look"] for item in refused["outlook"]} == {"not looked at"}
    assert _status(refused) == "warn"
    failed = [item for item in refused["sources"] if item["kind"] == "safe-queue"]
    assert failed
    assert all("404" in item["error"] for item in failed)


def _status(report: dict[str, Any]) -> str:
    status: str = next(
        item["status"] for item in report["checks"] if item["id"] == "authorization.governance"
    )
    return status
