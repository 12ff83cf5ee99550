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
from verifier.lab.world import World, build
from verifier.model.identifiers import AppId
from verifier.model.report import Report
from verifier.model.result import Verdict
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


def audited(world: World, part: str, change: Change) -> Report:
    def respond(method: str, url: str, sent: Mapping[str, str], raw: bytes) -> Response:
        response = world.respond(method, url, sent, raw)
        return change(response) if part in url else response

    question = Question(
        app_id=AppId(world.app_id),
        reference=simulated_reference(world.reference()),
        at=world.now,
        trusted=True,
    )
    sources = Sources(responder=respond, cloud=False)
    bundle = collect_evidence(question, sources, lambda: world.now)
    return audit_bundle(bundle, world.app_id, question, load_policy("baseline"))


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
