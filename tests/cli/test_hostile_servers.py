"""Servers that answer badly: the audit goes on, says what failed, and loses nothing it had."""

import json
from collections.abc import Callable, Mapping

import pytest
from msgspec.structs import replace

from verifier.audit import audit_bundle
from verifier.checks.case import Question
from verifier.cli.question import simulated_reference
from verifier.collection import Sources, collect_evidence
from verifier.evidence.bundle import Kind
from verifier.lab.response import Response, answer
from verifier.lab.world import ATTESTATION_PATH, World, build
from verifier.model.identifiers import AppId
from verifier.model.report import Report
from verifier.model.result import Status, Verdict
from verifier.policy.policy import load_policy

DEEP = b"[" * 100_000 + b"]" * 100_000
Change = Callable[[Response], Response]


def status(code: int, body: bytes = b"<html><h1>no</h1></html>") -> Change:
    return lambda _: answer(code, "text/html", body)


def body(raw: bytes) -> Change:
    return lambda response: replace(response, body=raw)


def headers(**added: str) -> Change:
    spelled = {name.replace("_", "-"): value for name, value in added.items()}
    return lambda response: replace(response, headers={**response.headers, **spelled})


def cut(response: Response) -> Response:
    return replace(response, body=response.body[: len(response.body) // 2])


def audited(
    world: World, part: str, change: Change, *, challenge: bytes = b"", policy: str = "baseline"
) -> Report:
    def respond(method: str, url: str, sent: Mapping[str, str], raw: bytes) -> Response:
        response = world.respond(method, url, sent, raw)
        return change(response) if part in url else response

    question = Question(
        app_id=AppId(world.app_id),
        reference=simulated_reference(world.reference()),
        at=world.now,
        trusted=True,
        challenge=challenge,
    )
    sources = Sources(
        responder=respond,
        handshakes=world.handshake,
        cloud=False,
        challenge_url=f"https://{world.serving_host}{ATTESTATION_PATH}?nonce={{challenge}}"
        if challenge
        else "",
    )
    bundle = collect_evidence(question, sources, lambda: world.now)
    return audit_bundle(bundle, world.app_id, question, load_policy(policy))


PAGE = "8090.gw.lab.invalid/"
INFO = "Info"
PCS = "pcs.lab.invalid"
KMS = "kms.gw.lab.invalid"
RPC = "rpc-a.lab.invalid"


@pytest.mark.parametrize("part", [PAGE, INFO, PCS, KMS, RPC, "GetAttestationForAppKey"])
@pytest.mark.parametrize(
    "change",
    [
        status(404),
        status(200),
        body(b""),
        body(b"\xff\xfe\x00"),
        body(bytes(9 << 20)),
        body(DEEP),
        body(b'{"a": 1, "a": 2}'),
        cut,
        headers(Content_Encoding="gzip"),
        lambda _: answer(302, "text/plain", b"", {"Location": "https://10.0.0.1/"}),
    ],
    ids=[
        "404",
        "error-page",
        "empty",
        "no-utf8",
        "too-large",
        "deep",
        "duplicate-key",
        "cut",
        "gzip",
        "redirect",
    ],
)
def test_a_bad_answer_is_never_a_pass(part: str, change: Change) -> None:
    report = audited(build(), part, change)
    assert report.verdict is not Verdict.AFFIRMING or part == "GetAttestationForAppKey"
    for subject in report.subjects:
        assert not any("crashed" in check.summary for check in subject.checks)
    json.dumps([source.error for source in report.sources])


def test_a_failed_source_is_named_with_its_reason() -> None:
    report = audited(build(), KMS, status(404))
    errors = [item.error for item in report.sources if item.kind == Kind.KMS_ENV_KEY.value]
    assert errors
    assert "HTTP 404" in errors[0]
    held = {check.id: check.status.value for check in report.subjects[0].checks}
    assert held["hardware.quote"] == "pass"


@pytest.mark.parametrize(
    "change",
    [status(404), status(200), body(b"{}"), body(b"\xff")],
    ids=["404", "error-page", "empty", "no-utf8"],
)
def test_what_answers_without_a_quote_is_named(change: Change) -> None:
    world = build()

    def all_of_it(response: Response) -> Response:
        return change(response)

    report = audited(world, ".gw.lab.invalid", all_of_it)
    (found,) = [item for item in report.subjects[0].checks if item.id == "hardware.quote"]
    assert found.status is Status.SKIP
    assert f"{world.app_id}-8090.gw.lab.invalid" in found.summary or "HTTP 404" in found.summary
    assert found.remediation


CHALLENGE = bytes(range(32))
OTHER_QUOTE = json.dumps(build().guest.get_quote(bytes(64))).encode()


@pytest.mark.parametrize(
    ("change", "status_"),
    [
        (lambda response: response, Status.PASS),
        (status(404), Status.SKIP),
        (status(503), Status.SKIP),
        (status(200), Status.SKIP),
        (body(b"{}"), Status.SKIP),
        (body(OTHER_QUOTE), Status.FAIL),
    ],
    ids=["honest", "404", "503", "error-page", "empty", "another-quote"],
)
def test_a_challenge_that_is_not_answered_accuses_nobody(change: Change, status_: Status) -> None:
    report = audited(build(), ATTESTATION_PATH, change, challenge=CHALLENGE)
    (found,) = [item for item in report.subjects[0].checks if item.id == "application.binding"]
    assert found.status is status_, found.summary


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        (lambda response: response, Verdict.AFFIRMING),
        (status(404), Verdict.NONE),
        (body(OTHER_QUOTE), Verdict.CONTRAINDICATED),
    ],
    ids=["honest", "404", "another-quote"],
)
def test_who_asks_a_challenge_demands_its_answer(change: Change, verdict: Verdict) -> None:
    """Also where the policy takes a quote that is bound to nothing."""
    report = audited(build(), ATTESTATION_PATH, change, challenge=CHALLENGE, policy="genuine")
    assert report.verdict is verdict
