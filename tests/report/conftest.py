"""Attestation results made by hand, one per kind of verdict."""

from collections.abc import Callable
from enum import Enum
from typing import Any

import pytest
from msgspec import Struct
from msgspec.structs import replace

from verifier.model.report import Report, Source, SubjectReport
from verifier.model.result import (
    Anchor,
    Basis,
    CheckResult,
    Claim,
    EvidenceRef,
    Finding,
    Location,
    Requirement,
    SkipKind,
    Status,
    Verdict,
)

APP_ID = "2c0a0c9620f35fb1ed7ba1ca6aa34ebdd19a1bfd"
QUOTE, PAGE, LOG = "a1" * 32, "b2" * 32, "c3" * 32
JUDGED = 1_777_000_000

CHECKS = (
    CheckResult(
        id="hardware.quote",
        title="The TD quote verifies to Intel's root with this collateral at this time",
        status=Status.PASS,
        summary="TD quote v4 verifies to the Intel SGX Root CA",
        evidence=(EvidenceRef(QUOTE, "bytes=0-4999"),),
    ),
    CheckResult(
        id="hardware.tcb",
        title="The TCB status satisfies the policy",
        status=Status.PASS,
        summary="UpToDate, evaluation number 20",
        expected=["UpToDate"],
        actual="UpToDate",
        evidence=(EvidenceRef(QUOTE),),
        requires=("hardware.quote",),
    ),
    CheckResult(
        id="boot.image",
        title="The registers are those of an identified production image",
        status=Status.PASS,
        summary="registers equal those of dstack 0.5.5 (production)",
        requires=("hardware.quote",),
    ),
    CheckResult(
        id="runtime.replay",
        title="RTMR3 replay equals the quote",
        status=Status.PASS,
        summary="all 9 events replay to RTMR3",
        evidence=(EvidenceRef(LOG, "/event_log"),),
        requires=("hardware.quote",),
    ),
    CheckResult(
        id="application.manifest",
        title="sha256 of the raw manifest equals the measured compose-hash",
        status=Status.PASS,
        summary="the manifest's sha256 is the measured compose-hash",
        expected="242a6272" * 8,
        actual="242a6272" * 8,
        evidence=(EvidenceRef(PAGE, "/tcb_info/app_compose"),),
        requires=("runtime.replay",),
    ),
    CheckResult(
        id="key_management.attestation",
        title="The KMS's own quote, log, keys and manifest hold",
        status=Status.SKIP,
        skip_kind=SkipKind.NOT_APPLICABLE,
        summary="the key provider is local-sgx; there is no KMS",
        reason="local-sgx and app-id is compose_hash[:20]",
        requirement=Requirement.ADVISORY,
    ),
)

CLAIMS = (
    Claim(
        name="tcb_status",
        value="UpToDate",
        basis=Basis.HARDWARE,
        conditions=("hardware.quote",),
        evidence=(EvidenceRef(QUOTE),),
    ),
    Claim(
        name="app_id",
        value=APP_ID,
        basis=Basis.MEASURED,
        conditions=("hardware.quote", "boot.image", "runtime.replay"),
    ),
    Claim(
        name="compose_hash",
        value="242a6272" * 8,
        basis=Basis.MEASURED,
        conditions=("hardware.quote", "boot.image", "runtime.replay"),
    ),
    Claim(
        name="os_image",
        value={"release": "0.5.5", "kind": "production", "origin": "recomputed"},
        basis=Basis.REFERENCE,
        conditions=("boot.image",),
    ),
    Claim(name="owner", value="Example Ltd", basis=Basis.ASSERTED),
    Claim(name="operating_system", value="DStack 0.5.5", basis=Basis.ASSERTED),
    Claim(name="kms_root", value=None, basis=Basis.UNKNOWN),
    Claim(
        name="kms",
        value={"name": "Example KMS", "chain_id": 8453, "contract": f"0x{'Ab' * 20}"},
        basis=Basis.REFERENCE,
    ),
    Claim(name="block", value=2**60, basis=Basis.CHAIN, conditions=("authorization.allowed",)),
)

FINDING = Finding(
    rule="IMG-001",
    severity="medium",
    title="Image is not pinned by digest",
    service="web",
    location=Location(pointer="/services/web/image", line=4, column=12),
    message="docker.io/library/nginx:latest can change without a new manifest",
    fix="Write the image as name@sha256:DIGEST",
    conditional=False,
)


def changed(
    checks: tuple[CheckResult, ...], check_id: str, **values: Any
) -> tuple[CheckResult, ...]:
    """The checks with one of them replaced."""
    return tuple(replace(item, **values) if item.id == check_id else item for item in checks)


WARNING_CHECKS = changed(
    CHECKS,
    "hardware.tcb",
    status=Status.WARN,
    summary="OutOfDate is allowed until 2026-06-01",
    actual="OutOfDate",
    reason="the policy grants a grace period",
    remediation="Ask the operator to update the platform's firmware",
)
MISSING_CHECKS = changed(
    changed(
        CHECKS,
        "boot.image",
        status=Status.SKIP,
        skip_kind=SkipKind.MISSING_EVIDENCE,
        summary="no reference value has these registers",
        actual={"mrtd": "ab" * 48},
        reason="MRTD is not among the known images",
        remediation="Run `verify image DIR` on the release that the operator names",
    ),
    "runtime.replay",
    status=Status.SKIP,
    skip_kind=SkipKind.BLOCKED,
    summary="boot.image did not pass",
    reason="boot.image says whether this evidence is genuine, and did not pass",
)
FAILING_CHECKS = changed(
    changed(
        WARNING_CHECKS,
        "application.manifest",
        status=Status.FAIL,
        summary="the manifest is not the one that was measured",
        actual="14e67b39" * 8,
        remediation="Ask the operator for the manifest that was deployed, byte for byte",
    ),
    "runtime.replay",
    status=Status.ERROR,
    summary="the check crashed",
    reason="ValueError",
    requirement=Requirement.ADVISORY,
)


def subject(
    verdict: Verdict, checks: tuple[CheckResult, ...], name: str = "instance-a"
) -> SubjectReport:
    """One attester with the usual claims."""
    return SubjectReport(name=name, verdict=verdict, checks=checks, claims=CLAIMS if checks else ())


def report(*subjects: SubjectReport, **values: Any) -> Report:
    """A report about these attesters, the worst first."""
    verdict = subjects[0].verdict if subjects else Verdict.NONE
    plain = Report(
        tool="dstack-audit 1.0.0",
        target=APP_ID,
        requested_app_id=APP_ID,
        verdict=verdict,
        accepted=verdict is Verdict.AFFIRMING,
        evaluated_at=JUDGED,
        time_note="",
        bundle_digest="d4" * 32,
        bundle_trusted=True,
        policy_name="baseline",
        policy_digest="e5" * 32,
        reference_digest="f6" * 32,
        anchor=None,
        root_note="",
        subjects=subjects,
        sources=(
            Source(
                kind="page",
                subject="instance-a",
                source="https://app.example/",
                blob=PAGE,
                error="",
            ),
            Source(
                kind="json-rpc",
                subject="",
                source="https://rpc.example/",
                blob=None,
                error="timeout",
            ),
        ),
        timeline=None,
        findings=(),
        gaps=("Certificate Transparency is not searched.",),
    )
    return replace(plain, **values)


MARKED_CHECKS = tuple(replace(item, anchor=Anchor.UNSAFE_ROOT) for item in WARNING_CHECKS)
SAID_CLAIMS = tuple(
    replace(item, basis=Basis.ASSERTED, conditions=()) for item in CLAIMS if item.value is not None
)


REPORTS = {
    "affirming": report(subject(Verdict.AFFIRMING, CHECKS)),
    "warning": report(subject(Verdict.WARNING, WARNING_CHECKS), findings=(FINDING,), accepted=True),
    "none": report(
        subject(Verdict.NONE, MISSING_CHECKS), bundle_trusted=False, requested_app_id=None
    ),
    "contraindicated": report(subject(Verdict.CONTRAINDICATED, FAILING_CHECKS)),
    "two-subjects": report(
        subject(Verdict.CONTRAINDICATED, FAILING_CHECKS, "instance-b"),
        subject(Verdict.WARNING, WARNING_CHECKS, "instance-a"),
        subject(Verdict.AFFIRMING, CHECKS, "instance-c"),
    ),
    "unsafe-root": report(
        subject(Verdict.WARNING, MARKED_CHECKS),
        anchor=Anchor.UNSAFE_ROOT,
        root_note="trust anchor from lab.der, not Intel's",
        time_note="Judged as of 2026-04-24T03:06:40Z; evidence collected at 2026-04-12T08:00:00Z.",
    ),
    "only-said": report(replace(subject(Verdict.NONE, MISSING_CHECKS), claims=SAID_CLAIMS)),
    "no-checks": report(subject(Verdict.NONE, ())),
    "no-subjects": report(),
}


@pytest.fixture(params=sorted(REPORTS))
def any_report(request: pytest.FixtureRequest) -> Report:
    """Each of the reports in turn."""
    return REPORTS[request.param]


@pytest.fixture(scope="session")
def reports() -> dict[str, Report]:
    """All reports by name."""
    return REPORTS


def map_strings(value: Any, change: Callable[[str], str]) -> Any:
    """A copy of a value of the model with every string in it changed; enums stay."""
    if isinstance(value, str):
        return value if isinstance(value, Enum) else change(value)
    if isinstance(value, tuple | list):
        return type(value)(map_strings(item, change) for item in value)
    if isinstance(value, dict):
        return {change(key): map_strings(item, change) for key, item in value.items()}
    if isinstance(value, Struct):
        mapped = {
            name: map_strings(getattr(value, name), change) for name in value.__struct_fields__
        }
        return replace(value, **mapped)
    return value


@pytest.fixture(scope="session")
def rewritten() -> Callable[[Report, Callable[[str], str]], Report]:
    """The function that changes every string of a report."""
    return map_strings
