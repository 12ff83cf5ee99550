"""What the recorded evidence of real GPUs proves."""

import json

import pytest

from tests.evidence.recorded import audit, checks, claims, needs_recorded, read
from verifier.audit import audit_bundle
from verifier.checks.case import Question
from verifier.checks.hardware import nvidia
from verifier.evidence.gpu.nras import parse_answer, parse_keys
from verifier.evidence.gpu.payload import parse_payload
from verifier.evidence.import_files import import_files
from verifier.evidence.td.quote import parse_quote
from verifier.model.identifiers import AppId, parse_time
from verifier.model.result import Status
from verifier.policy.policy import load_policy
from verifier.reference.values import embedded

pytestmark = needs_recorded

ONE = "gpu/gemma-1gpu_2026-03-25.json"
EIGHT = "gpu/glm-4.7-8gpu_2026-03-25.json"
COLLATERAL = "collateral/tdx_90C06F000000_2026-04-24_ev18.json"
AT = "2026-04-24T23:00"


def question(app_id: str, nonce: str) -> Question:
    moment = parse_time(AT)
    assert moment is not None
    return Question(
        app_id=AppId(app_id),
        reference=embedded(),
        at=moment,
        trusted=False,
        challenge=bytes.fromhex(nonce),
    )


def test_every_report_answers_the_nonce_of_its_quote() -> None:
    one = json.loads(read(ONE))
    reports = [one, *json.loads(read(EIGHT))["model_attestations"]]
    anchors = embedded().anchors_of(nvidia.DEVICE)
    moment = parse_time(AT)
    assert moment is not None
    for item in reports:
        payload = parse_payload(item["nvidia_payload"].encode(), "payload")
        nonce = parse_quote(bytes.fromhex(item["intel_quote"]), "quote").report_data[32:]
        for entry in payload.gpus:
            assert nvidia.report_failure(entry, anchors, moment) == ""
            assert entry.report.nonce == payload.nonce == nonce
            assert entry.report.driver == "570.172.08"


@pytest.mark.parametrize(("path", "count"), [(ONE, 1), (EIGHT, 8)])
def test_gpus_of_a_machine_with_as_many_ports_are_tied_to_its_quote(path: str, count: int) -> None:
    document = json.loads(read(path))
    item = document if count == 1 else document["model_attestations"][0]
    app_id, nonce = item["info"]["app_id"], json.loads(item["nvidia_payload"])["nonce"]
    bundle = import_files(
        [("report", read(path)), ("collateral", read(COLLATERAL))], collected_at=0
    )
    report = audit_bundle(bundle, "recorded", question(app_id, nonce), load_policy("baseline"))
    assert len(report.subjects) == (1 if count == 1 else 3)
    for subject in report.subjects:
        found = {result.id: result for result in subject.checks}["hardware.gpu"]
        assert found.status is Status.WARN
        assert found.summary == (
            f"{count} genuine GH100, driver 570.172.08; driver and firmware not compared "
            f"({count} of {count})"
        )
        values = {claim.name: claim for claim in subject.claims}["gpus"]
        assert values.basis.value == "hardware"
        assert len(values.value) == count  # type: ignore[arg-type]


def test_a_quote_over_something_else_ties_no_gpu() -> None:
    found = checks(audit(AT, "bfe88926c2826cf14a819ef0ae7558cac3bf024c", ONE, COLLATERAL))
    assert found["hardware.gpu"].status is Status.WARN
    assert "nothing ties them to this TD" in found["hardware.gpu"].summary


@pytest.mark.parametrize(
    ("answer", "day", "success"),
    [("gemma", "2026-06-10", True), ("chutes", "2026-05-20", False)],
)
def test_verdicts_are_signed_by_the_service_whatever_they_say(
    answer: str, day: str, *, success: bool
) -> None:
    verdict = parse_answer(read(f"gpu/nras_{answer}_{day}.json"), "verdict")
    keys = parse_keys(read(f"gpu/nras_jwks_{day}.json"), "keys")
    other = parse_keys(
        read(f"gpu/nras_jwks_{'2026-05-20' if success else '2026-06-10'}.json"), "keys"
    )
    anchors = embedded().anchors_of(nvidia.NRAS)
    assert nvidia.token_failure(verdict.overall, [keys], anchors) == ""
    assert "no key" in nvidia.token_failure(verdict.overall, [other], anchors)
    assert not nvidia.incomplete_verdict(verdict)
    assert (nvidia.negative_verdict(verdict) == "") is success
    report = audit(
        AT, None, f"gpu/nras_{answer}_{day}.json", f"gpu/nras_jwks_{day}.json", ONE, COLLATERAL
    )
    status = checks(report)["hardware.gpu"].status
    assert status is (Status.WARN if success else Status.FAIL)
    assert ("gpus" in claims(report)) is success
