"""The deployment checklist: each point met, not met and not known by what shows it."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import typer
from msgspec.structs import replace
from typer.testing import CliRunner, Result

from tests.manifest.dockerfiles import HONEST, stage
from tests.manifest.vectors import DIGEST, app
from tests.worlds.audited import Audited, audit
from verifier.checks.case import Case
from verifier.checks.provenance.source_link import Tie
from verifier.cli.commands.checklist import check_deployment
from verifier.errors import UsageError
from verifier.evidence.chain.json_rpc import Exchanges
from verifier.evidence.subject import read_subject
from verifier.lab.knobs import Knobs
from verifier.manifest.audit import audit_compose_file, audit_dockerfile, audit_manifest
from verifier.manifest.read import read_compose_file, read_manifest
from verifier.model.report import Report
from verifier.model.result import Basis, Status
from verifier.policy import checklist
from verifier.policy.checklist import (
    POINTS,
    Build,
    Given,
    Standing,
    Written,
    conclusion,
    decide_all,
)
from verifier.report.checklist import render_checklist, render_checklist_json

SCHEMA = json.loads(
    (Path(__file__).parents[2] / "docs" / "schema" / "checklist-v1.schema.json").read_text("utf-8")
)
MET, NOT_MET, NOT_KNOWN = Standing.MET, Standing.NOT_MET, Standing.NOT_KNOWN
APP = typer.Typer()
APP.command()(check_deployment)


def standings(given: Given) -> dict[str, Standing]:
    found = {item.point.title.split()[0]: item.standing for item in decide_all(given)}
    assert len(found) == len(POINTS)
    return found


def dockerfile(text: str) -> Build:
    return Build("Dockerfile", audit_dockerfile(text.encode()))


def own(raw: bytes, *, measured: bool = False) -> Written:
    return Written("app.json", read_manifest(raw), audit_manifest(raw), measured)


def compose(text: str) -> Written:
    raw = text.encode()
    return Written("compose.yaml", read_compose_file(raw), audit_compose_file(raw))


def running(audited: Audited) -> Given:
    """What is known of a running app."""
    subject = audited.report.subjects[0]
    evidence = read_subject(audited.bundle, subject.name)
    case = Case(evidence, audited.question, Exchanges(audited.bundle))
    raw = case.measured_manifest.value
    return Given(written=(own(raw, measured=True),), report=audited.report)


def test_nothing_given_is_nothing_known() -> None:
    decided = decide_all(Given())
    assert {item.standing for item in decided} == {NOT_KNOWN}
    assert conclusion(decided) is NOT_KNOWN
    assert all(item.reason for item in decided)


@pytest.mark.parametrize(
    ("text", "base", "epoch"),
    [
        (HONEST, MET, MET),
        (stage(base="node:22"), NOT_MET, MET),
        (f"FROM a@{DIGEST}\n", MET, NOT_MET),
        ("FROM a\nFROBNICATE\n", NOT_KNOWN, NOT_KNOWN),
    ],
)
def test_what_a_dockerfile_shows(text: str, base: Standing, epoch: Standing) -> None:
    found = standings(Given(builds=(dockerfile(text),)))
    assert (found["Base"], found["SOURCE_DATE_EPOCH"]) == (base, epoch)


def manifest(text: str = "", **fields: Any) -> Written:
    return own(app(text, **fields).raw)


@pytest.mark.parametrize(
    ("written", "point", "standing"),
    [
        (manifest(), "Deploy", MET),
        (own(app(image="redis:7").raw), "Deploy", NOT_MET),
        (own(app(image=f"containrrr/watchtower@{DIGEST}").raw), "Deploy", NOT_MET),
        (own(app("extends: {file: other.yaml, service: web}", image="").raw), "Deploy", NOT_MET),
        (compose("services: ["), "Deploy", NOT_KNOWN),
        (manifest(allowed_envs=[]), "No", MET),
        (manifest(allowed_envs=["API_URL"]), "No", NOT_MET),
        (manifest("environment: ['API_URL=${WHERE}']", allowed_envs=["WHERE"]), "No", NOT_MET),
        (manifest("environment: ['API_URL=${WHERE}']", allowed_envs=["OTHER"]), "No", MET),
        (manifest("environment: ['API_URL=${A}']", allowed_envs=["A"]), "No", NOT_MET),
        (manifest("environment: ['A=${A}']", allowed_envs=["A"]), "No", MET),
        (compose(f"services:\n  a:\n    image: a@{DIGEST}\n"), "No", NOT_KNOWN),
        (manifest(kms_enabled=False), "KMS", NOT_MET),
        (manifest(), "KMS", NOT_KNOWN),
        (manifest("environment: [A=b]"), "GATEWAY_DOMAIN", NOT_KNOWN),
        (manifest("environment: [GATEWAY_DOMAIN=_.g.example]"), "GATEWAY_DOMAIN", NOT_KNOWN),
    ],
)
def test_what_a_manifest_shows(written: Written, point: str, standing: Standing) -> None:
    assert standings(Given(written=(written,)))[point] is standing


def test_what_a_running_app_shows(honest: Audited) -> None:
    given = running(honest)
    found = standings(given)
    assert found["KMS"] is found["Deployed"] is found["Attestation"] is found["Staging:"] is MET
    assert found["App"] is found["Logs"] is found["Tested"] is NOT_KNOWN
    raw = given.written[0]
    mine = replace(raw, measured=False)
    same = standings(replace(given, written=(raw, mine)))
    assert same["Compose"] is same["Digest"] is MET
    digest = standings(replace(given, expected=(raw.audit.sha256,)))
    assert digest["Compose"] is MET
    other = standings(replace(given, expected=("0" * 64,), written=(raw, manifest())))
    assert other["Compose"] is other["Digest"] is NOT_MET


@pytest.mark.parametrize(
    ("said", "standing"),
    [
        ("GATEWAY_DOMAIN=_.gw.lab.invalid", MET),
        ("DSTACK_GATEWAY_DOMAIN=gw.lab.invalid", MET),
        ("GATEWAY_DOMAIN=_.gw.other.invalid", NOT_MET),
        ("GATEWAY_DOMAIN=_.lab.invalid", NOT_MET),
        ("GATEWAY_DOMAIN=${ANY}", NOT_MET),
        ("ANY_DOMAIN=_.gw.lab.invalid", NOT_KNOWN),
    ],
)
def test_the_gateway_that_answered_is_the_one_that_a_service_names(
    honest: Audited, said: str, standing: Standing
) -> None:
    written = (manifest(f"environment: ['{said}']", allowed_envs=["ANY"]),)
    point = "GATEWAY_DOMAIN"
    assert standings(replace(running(honest), written=written))[point] is standing
    nobody = Given(written=written, report=honest.again(trusted=False).report)
    assert standings(nobody)[point] is NOT_KNOWN
    silent = tuple(replace(item, error="HTTP 502") for item in honest.report.sources)
    unanswered = Given(written=written, report=replace(honest.report, sources=silent))
    assert standings(unanswered)[point] is NOT_KNOWN


def with_result(report: Report, check_id: str, **changes: object) -> Given:
    """What is known where a check of a running app came out otherwise."""
    first, *others = report.subjects
    checks = tuple(
        replace(item, **changes) if item.id == check_id else item for item in first.checks
    )
    return Given(report=replace(report, subjects=(replace(first, checks=checks), *others)))


@pytest.mark.parametrize(
    ("check_id", "point", "standing"),
    [
        ("authorization.contract", "KMS", {Status.PASS: MET, Status.WARN: MET}),
        ("key_management.provider", "KMS", {Status.PASS: MET, Status.WARN: MET}),
        ("hardware.quote", "Staging:", {Status.PASS: MET, Status.WARN: MET}),
        ("application.manifest", "Deployed", {Status.PASS: MET}),
        ("hardware.quote", "Attestation", {Status.PASS: MET, Status.FAIL: NOT_MET}),
        ("application.identity", "Attestation", {Status.PASS: MET, Status.FAIL: NOT_MET}),
    ],
)
def test_a_point_rests_on_a_check(
    honest: Audited, check_id: str, point: str, standing: dict[Status, Standing]
) -> None:
    for status in Status:
        given = with_result(honest.report, check_id, status=status)
        assert standings(given)[point] is standing.get(status, NOT_KNOWN), status


def test_how_an_image_is_tied_says_whether_it_is_published(honest: Audited) -> None:
    found: dict[Standing, set[Tie]] = {MET: set(), NOT_MET: set(), NOT_KNOWN: set()}
    for tie in Tie:
        rows = [{"tie": tie.value}, {"tie": Tie.ATTESTED.value}]
        for actual in (rows, rows[::-1]):
            given = with_result(honest.report, "provenance.images", actual=actual)
            found[standings(given)["Images"]].add(tie)
    assert found == {
        MET: {Tie.ATTESTED, Tie.ASSERTED, Tie.UNTIED},
        NOT_MET: {Tie.CONTRADICTED, Tie.MISSING, Tie.PRIVATE, Tie.UNPINNED},
        NOT_KNOWN: {Tie.UNKNOWN, Tie.UNREACHABLE, Tie.MALFORMED},
    }
    none = with_result(honest.report, "provenance.images", actual=[])
    assert standings(none)["Images"] is NOT_KNOWN


def test_the_worst_attester_alone_decides(honest: Audited) -> None:
    """What a better one proves says nothing of it."""
    (first,) = honest.report.subjects
    unproven = replace(first, name="worst", claims=())
    both = replace(honest.report, subjects=(unproven, first))
    found = standings(Given(report=both))
    assert found == standings(Given(report=replace(honest.report, subjects=(unproven,))))
    assert found["KMS"] is NOT_KNOWN


def test_what_is_only_said_of_a_running_app_decides_nothing(honest: Audited) -> None:
    first, *others = honest.report.subjects
    claims = tuple(replace(item, basis=Basis.ASSERTED) for item in first.claims)
    report = replace(honest.report, subjects=(replace(first, claims=claims), *others))
    found = standings(Given(report=report))
    assert found["KMS"] is found["Staging:"] is NOT_KNOWN


def test_another_attester_vouches_for_the_worst_one_in_nothing(honest: Audited) -> None:
    (proven,) = honest.report.subjects
    silent = replace(proven, name="silent", claims=())
    for worst in (silent, replace(silent, checks=())):
        given = Given(report=replace(honest.report, subjects=(worst, proven)))
        assert given.claim("os_image") is None
        assert standings(given)["KMS"] is standings(given)["Staging:"] is NOT_KNOWN
    assert given.result("hardware.quote") is None
    assert standings(given)["Attestation"] is NOT_KNOWN


@pytest.mark.parametrize(
    ("knobs", "point", "standing"),
    [
        (Knobs(kms="hosted"), "KMS", NOT_MET),
        (Knobs(os_image="development"), "Staging:", NOT_KNOWN),
    ],
)
def test_what_other_apps_show(knobs: Knobs, point: str, standing: Standing) -> None:
    assert standings(running(audit(knobs)))[point] is standing


def test_nothing_is_met_by_a_bundle_that_nobody_vouches_for(honest: Audited) -> None:
    trusted = standings(running(honest))
    doubted = standings(running(honest.again(trusted=False)))
    assert doubted["KMS"] is not MET
    better = {name for name in trusted if doubted[name] is MET and trusted[name] is not MET}
    assert not better


def test_reports(honest: Audited) -> None:
    hostile = Written(
        "a\x1b[31m.json", read_manifest(app().raw), audit_manifest(app(image="x\u202e").raw)
    )
    decided = decide_all(replace(running(honest), written=(hostile,)))
    text = render_checklist(("a\x1b",), decided, 80)
    assert not set("\x1b\u202e") & set(text)
    assert all(len(line) <= 80 for line in text.splitlines())
    document = json.loads(render_checklist_json(("a",), decided))
    jsonschema.validate(document, SCHEMA)
    assert len(document["points"]) == len(POINTS)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(APP, list(arguments))


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Dockerfile").write_text(HONEST)
    (tmp_path / "app-compose.json").write_bytes(app().raw)
    done = run(".")
    assert done.exit_code == 3, done.output
    assert "Base image pinned by digest in Dockerfile: met" in done.stdout
    (tmp_path / "Dockerfile").write_text(stage(base="node:22"))
    done = run("Dockerfile", "app-compose.json", "--format", "json")
    assert done.exit_code == 4
    document = json.loads(done.stdout)
    jsonschema.validate(document, SCHEMA)
    assert document["conclusion"] == "not met"
    for arguments in (("0" * 40, "1" * 40), (".", "--expect-compose-hash", "12")):
        assert isinstance(run(*arguments).exception, UsageError)


@pytest.mark.parametrize(
    ("rule", "severity", "standing"),
    [
        ("IMG-001", "medium", NOT_MET),
        ("IMG-001", "low", MET),
        ("SVC-001", "high", MET),
    ],
)
def test_a_slight_finding_about_an_image_leaves_it_pinned(
    monkeypatch: pytest.MonkeyPatch, rule: str, severity: str, standing: Standing
) -> None:
    monkeypatch.setattr(checklist, "_unread", lambda _: None)
    finding = SimpleNamespace(rule=rule, severity=severity, service="a")
    written = SimpleNamespace(
        name="m",
        manifest=SimpleNamespace(services=()),
        audit=SimpleNamespace(findings=(finding,)),
    )
    given: Any = SimpleNamespace(written=(written,))
    assert checklist.images_pinned(given)[0] is standing
