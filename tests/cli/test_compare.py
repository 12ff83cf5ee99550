"""`--compare`: a dashboard's report from a file, from an address, from a bundle."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from tests.cli.command import Run
from tests.gates.test_action import APP_ID, BUNDLE, DIGEST
from verifier.api import Audit, Sources, collect_evidence
from verifier.cli.question import simulated_question
from verifier.evidence.bundle import Kind
from verifier.lab.dashboard import dashboard_report
from verifier.lab.response import NOT_FOUND, Response, answer
from verifier.lab.world import build
from verifier.model.identifiers import parse_time
from verifier.model.report import Beside
from verifier.policy.policy import load_policy
from verifier.report.audit.earlier import read_report

ROOT: Final = Path(__file__).parents[2]
NOW: Final = parse_time("2026-06-15T12:00:00Z") or 0
DEMO: Final = read_report((ROOT / "reports" / "demo.json").read_bytes())
CLAIMS: Final = {item.name: item.value for item in DEMO.subjects[0].claims}
FORGED: Final = dashboard_report(
    CLAIMS, NOW, app_id=APP_ID, edit={"app-main.compose_hash": "ee" * 32}
)


def test_it_decides_nothing(call: Run, tmp_path: Path) -> None:
    (tmp_path / "tc.json").write_bytes(FORGED)
    asked = (
        *("--bundle", BUNDLE, "--trust-bundle", DIGEST, "--at", "2026-06-15T12:00:00Z"),
        *("--unsafe-root", str(ROOT / "fixtures" / "demo-reference.json"), "--format", "json"),
    )
    ran = call("app", APP_ID, *asked, "--compare", "trust-center=tc.json")
    assert ran.code == 0, ran.err
    document: dict[str, Any] = json.loads(ran.out)
    (compared,) = document.pop("comparisons")
    assert compared["note"].endswith("contradicts: Manifest")
    assert compared["source"] == "tc.json"
    assert {row["theirs_basis"] for row in compared["rows"]} == {"asserted"}
    assert document == json.loads(call("app", APP_ID, *asked).out)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tc.json", "is not WHO=FILE or WHO=URL"),
        ("phala=tc.json", "WHO is trust-center, dstack-verifier, phala-cloud"),
        ("trust-center=missing.json", "there is no such file"),
        ("trust-center=https://trust.example/r.json", "audited without the network"),
    ],
)
def test_mistakes_are_one_line(call: Run, text: str, said: str) -> None:
    ran = call("app", APP_ID, "--bundle", BUNDLE, "--compare", text)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err


def test_one_from_an_address_is_kept_in_the_bundle_and_read_there_again() -> None:
    world = build()
    question = simulated_question(world.app_id, world.reference(), world.now)
    url = "https://trust.example/report.json"

    def respond(method: str, asked: str, headers: Mapping[str, str], body: bytes) -> Response:
        if asked == url:
            return answer(200, "application/json", FORGED)
        if asked.startswith("https://trust.example"):
            return NOT_FOUND
        return world.respond(method, asked, headers, body)

    sources = Sources(
        responder=respond, cloud=False, dashboards=(url, "https://trust.example/gone.json")
    )
    bundle = collect_evidence(question, sources, lambda: world.now)
    assert sum(item.kind is Kind.DASHBOARD for item in bundle.artifacts) == 2
    audit = Audit(target=world.app_id, question=question, bundle=bundle)
    report = audit.report(load_policy("baseline"))
    (found,) = report.comparisons
    assert report.accepted
    assert found.source == url
    assert [row.topic for row in found.rows if row.beside is Beside.CONTRADICTED] == ["Manifest"]
