"""Results that can be signed: an SVR, a VSA and an EAR say no more than the audit did."""

import json
from pathlib import Path
from typing import Any, Final

import jsonschema  # type: ignore[import-untyped]
import pytest
from msgspec.structs import replace

from tests.report.conftest import CHECKS, REPORTS, changed, report, subject
from verifier.errors import EvidenceError
from verifier.model.report import Report
from verifier.model.result import Anchor, Requirement, SkipKind, Status, Verdict
from verifier.policy.policy import load_policy
from verifier.report.audit.ear import render_ear
from verifier.report.audit.statement import (
    RENDERERS,
    Agreement,
    compare,
    read_statement,
    render_statement,
    render_vsa,
)

ROOT: Final = Path(__file__).parents[2]
FORMS: Final = {"statement": render_statement, "vsa": render_vsa, "ear": render_ear}
DAY: Final = 86_400


def schema(name: str) -> Any:
    return json.loads((ROOT / "docs" / "schema" / f"{name}-v1.schema.json").read_text())


@pytest.mark.parametrize("form", FORMS)
def test_every_report_gives_what_the_schema_says(any_report: Report, form: str) -> None:
    document = schema(form)
    jsonschema.Draft202012Validator.check_schema(document)
    assert document["$id"].startswith("urn:dstack-audit:schema:")
    jsonschema.Draft202012Validator(document).validate(json.loads(FORMS[form](any_report)))


@pytest.mark.parametrize("form", FORMS)
def test_what_was_signed_is_read_and_derived_again(any_report: Report, form: str) -> None:
    signed = read_statement(FORMS[form](any_report, 3))
    assert RENDERERS[signed.kind] is FORMS[form]
    assert signed.expires - signed.created == 3 * DAY
    assert signed.verifier == "urn:dstack-audit:1.0.0"
    assert compare(signed, any_report, signed.created)[0] is Agreement.SAME
    assert compare(signed, any_report, signed.expires + 1)[0] is Agreement.EXPIRED
    other = replace(any_report, bundle_digest="00" * 32)
    assert "about other evidence" in compare(signed, other, 0)[1]
    newer = replace(any_report, tool="dstack-audit 9.0")
    assert compare(signed, newer, 0)[0] is Agreement.ANOTHER_VERSION


def vsa(given: Report) -> dict[str, Any]:
    predicate: dict[str, Any] = json.loads(render_vsa(given))["predicate"]
    return predicate


def ear(given: Report) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(render_ear(given))
    return found


def vector(given: Report) -> dict[str, int]:
    found: dict[str, int] = ear(given)["submods"]["instance-a"].get(
        "ear_trustworthiness_vector", {}
    )
    return found


def test_nothing_but_real_hardware_that_is_accepted_is_passed() -> None:
    good = REPORTS["affirming"]
    assert vsa(good)["verificationResult"] == "PASSED"
    assert vsa(good)["verifiedLevels"] == []  # this policy's digest is not the built-in one's
    known = replace(good, policy_digest=load_policy("baseline").digest)
    assert vsa(known)["verifiedLevels"] == ["DSTACK_AUDIT_BASELINE"]
    for worse in (
        replace(good, accepted=False),
        replace(good, anchor=Anchor.SIMULATED),
        replace(good, anchor=Anchor.UNSAFE_ROOT),
        replace(good, subjects=(replace(good.subjects[0], claims=()),)),
    ):
        assert vsa(worse)["verificationResult"] == "FAILED"
        assert vsa(worse)["verifiedLevels"] == []


def test_another_anchor_claims_nothing() -> None:
    for anchor in Anchor:
        given = replace(REPORTS["affirming"], anchor=anchor)
        document = ear(given)
        assert document["ear_status"] == "none"
        assert {item["ear_status"] for item in document["submods"].values()} == {"none"}
        assert vector(given) == {}


IDS: Final = {
    "hardware": ("hardware.quote", "hardware.tcb"),
    "runtime-opaque": ("hardware.quote", "hardware.td"),
    "executables": ("boot.image", "runtime.replay", "runtime.events"),
    "configuration": ("application.manifest", "manifest.rules"),
    "instance-identity": ("application.identity", "application.binding"),
}


def whole(**values: Any) -> Report:
    """A report in which every check of the vector passed, with one of them changed."""
    ids = sorted({check_id for listed in IDS.values() for check_id in listed})
    checks = tuple(replace(CHECKS[0], id=check_id) for check_id in ids)
    for check_id, change in values.items():
        checks = changed(checks, check_id.replace("__", "."), **change)
    return report(subject(Verdict.AFFIRMING, checks))


def test_the_vector_is_made_of_what_was_decided() -> None:
    assert vector(whole()) == {
        "configuration": 2,
        "executables": 3,
        "hardware": 2,
        "instance-identity": 2,
        "runtime-opaque": 2,
    }
    assert vector(whole(hardware__tcb={"status": Status.WARN}))["hardware"] == 32
    assert vector(whole(boot__image={"status": Status.WARN}))["executables"] == 33
    failed = vector(whole(hardware__quote={"status": Status.FAIL}))
    assert (failed["hardware"], failed["runtime-opaque"]) == (96, 96)


@pytest.mark.parametrize(
    "change",
    [
        {"status": Status.ERROR},
        {"status": Status.SKIP, "skip_kind": SkipKind.MISSING_EVIDENCE},
        {"status": Status.SKIP, "skip_kind": SkipKind.BLOCKED},
        {"requirement": Requirement.NOT_ASKED},
    ],
)
def test_what_was_not_decided_or_not_asked_is_not_claimed(change: dict[str, Any]) -> None:
    for name, ids in IDS.items():
        for check_id in ids:
            claimed = vector(whole(**{check_id.replace(".", "__"): change})).get(name)
            if name == "configuration" and "requirement" not in change:
                assert claimed == 36  # parts of it are not available
            else:
                assert claimed is None


def test_one_appraisal_for_each_guest_and_the_worst_above() -> None:
    document = ear(REPORTS["two-subjects"])
    assert document["ear_status"] == "contraindicated"
    statuses = {name: item["ear_status"] for name, item in document["submods"].items()}
    assert statuses == {
        "instance-a": "warning",
        "instance-b": "contraindicated",
        "instance-c": "affirming",
    }


@pytest.mark.parametrize(
    "change",
    [
        {"eat_profile": "tag:github.com,2023:veraison/ear"},
        {"exp": 1},
        {"iat": -1},
        {"iat": "1"},
        {"exp": 1e300},
        {"ear_verifier_id": "dstack"},
    ],
)
def test_another_ear_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(EvidenceError):
        read_statement(json.dumps(ear(REPORTS["affirming"]) | change).encode())
