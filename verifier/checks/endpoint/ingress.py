"""A key that the evidences of dstack-ingress name: which guest names it, and what that is worth."""

from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from verifier.checks import boot, runtime
from verifier.checks.application import identity
from verifier.checks.case import Case
from verifier.checks.engine import USABLE, run_checks
from verifier.checks.hardware import quote
from verifier.errors import EvidenceError, MissingEvidence
from verifier.evidence.ingress import NamedKey, named_keys
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
    for none), and its checks. `accounts` are those that any quote about the key names, and `doubts`
    are about other quotes than this one."""

    account: str
    results: tuple[CheckResult, ...]
    evidence: tuple[EvidenceRef, ...]
    accounts: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()

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
    """How the guest whose quote names a key proves itself; None where no quote does. Of several
    quotes one that is false counts before all, as with a gateway: whoever made it says that
    somebody else holds the key. Raises MissingEvidence where it runs another manifest than the
    judged guest, EvidenceError."""
    found, unread = named_keys(case.evidence.bundle, key)
    accounts = tuple(sorted({item.account for item in found} - {""}))
    judged, lacking = list[Naming](), list[MissingEvidence]()
    for item in sorted(found, key=lambda item: (not item.account, item.source.quote)):
        try:
            judged.append(_judged(case, item))
        except MissingEvidence as error:
            lacking.append(error)
        except EvidenceError as error:
            unread.append(error)
    false = next((item for item in judged if item.failed), None)
    if false is not None:
        return replace(false, accounts=accounts)
    if unread:
        raise unread[0]
    good = next((item for item in judged if not item.unproven), None)
    if good is None and lacking:
        raise lacking[0]
    chosen = good or next(iter(judged), None)
    if chosen is None:
        return None
    others = [f"{bad.id}: {bad.summary}" for x in judged if (bad := x.unproven)]
    others += [error.message for error in lacking]
    said = tuple(f"another quote that names it: {text}" for text in dict.fromkeys(others))
    return replace(chosen, accounts=accounts, doubts=said if chosen is good else ())


def _judged(case: Case, found: NamedKey) -> Naming:
    """How the guest that made one of the quotes proves itself. Raises MissingEvidence,
    EvidenceError."""
    other = Case(
        replace(case.evidence, quotes=[found.source]),
        replace(case.question, challenge=b"", binds=(), instances=(), endpoint=None),
        case.exchanges,
        replace(case.demands, kms_signed=False),
    )
    if other.identity.compose_hash != case.identity.compose_hash:
        raise MissingEvidence(
            "the evidences of the endpoint are those of a guest that runs another manifest",
            hint="the certificate may be older than the manifest: its guest renews it",
        )
    results = run_checks(_CHECKS, other)
    return Naming(found.account, results, tuple(item.ref for item in found.artifacts))
