"""A key that the evidences of dstack-ingress name: which guest names it, and what that is worth."""

from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from verifier.checks import boot, runtime
from verifier.checks.application import identity
from verifier.checks.case import Case
from verifier.checks.engine import USABLE, run_checks
from verifier.checks.hardware import quote
from verifier.errors import MissingEvidence
from verifier.evidence.ingress import named_key
from verifier.model.result import CheckResult, EvidenceRef, Status

_CHECKS: Final = (
    *quote.CHECKS,
    *boot.CHECKS,
    *runtime.CHECKS,
    identity.identity,
    identity.manifest,
)
_ADVISORY: Final = ("boot.machine",)


class Naming(Struct, frozen=True):
    """How the guest that names a key proves itself: the account at a CA that it names besides (""
    for none), and its checks."""

    account: str
    results: tuple[CheckResult, ...]
    evidence: tuple[EvidenceRef, ...]

    @property
    def failed(self) -> CheckResult | None:
        """The first check that fails, if any does."""
        return next((item for item in self.results if item.status is Status.FAIL), None)

    @property
    def unproven(self) -> CheckResult | None:
        """The first check that has no usable result, if there is one."""
        needed = (item for item in self.results if item.id not in _ADVISORY)
        return next((item for item in needed if item.status not in USABLE), None)


def judge_naming(case: Case, key: bytes) -> Naming | None:
    """How the guest whose quote names a key proves itself; None where no quote does. Raises
    MissingEvidence where it runs another manifest than the judged guest, EvidenceError."""
    found = named_key(case.evidence.bundle, key)
    if found is None:
        return None
    other = Case(
        replace(case.evidence, quotes=[found.source]),
        replace(case.question, challenge=b"", binds=(), instances=(), endpoint=None),
        case.exchanges,
        replace(case.demands, kms_signed=False, endpoint_named=False),
    )
    if other.identity.compose_hash != case.identity.compose_hash:
        raise MissingEvidence(
            "the evidences of the endpoint are those of a guest that runs another manifest",
            hint="the certificate may be older than the manifest: its guest renews it",
        )
    results = run_checks(_CHECKS, other)
    return Naming(found.account, results, tuple(item.ref for item in found.artifacts))
