"""The front door: evidence about an app, and the audit of it. The command line has no other.

`collect` and `verify` ask the plain question about an app id. A caller that asks for more, such as
its own KMS, a challenge or other reference values, writes the `Question` itself, collects with
`collect_evidence` and judges with an `Audit`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec import Struct

from verifier.audit import (
    app_timeline,
    audit_bundle,
    check_bundle,
    known,
    measured_manifests,
    recorded,
)
from verifier.checks.case import Question
from verifier.collection import (
    CollectionInterrupted,
    Past,
    Sources,
    clear_log_cache,
    collect_evidence,
    default_log_cache,
    examine_sources,
    fetch_image,
    identity_token,
    log_cache_contents,
    post_document,
    share_collections,
    sign_for_identity,
)
from verifier.errors import UsageError
from verifier.evidence.bundle import Bundle
from verifier.model.identifiers import AppId, parse_app_id
from verifier.model.report import Report
from verifier.model.result import CheckResult
from verifier.policy.policy import Policy
from verifier.reference.values import embedded

if TYPE_CHECKING:
    from verifier.model.timeline import Timeline

__all__ = [
    "Audit",
    "CollectionInterrupted",
    "Past",
    "Question",
    "Sources",
    "clear_log_cache",
    "collect",
    "collect_evidence",
    "default_log_cache",
    "examine_sources",
    "fetch_image",
    "identity_token",
    "known",
    "log_cache_contents",
    "measured_manifests",
    "post_document",
    "recorded",
    "share_collections",
    "sign_for_identity",
    "verify",
]


class Audit(Struct, frozen=True, kw_only=True):
    """Evidence and what is asked of it: all that the pure half takes, except the policy.

    `target` is what reports call the app: what the user wrote.
    """

    target: str
    question: Question
    bundle: Bundle

    def report(self, policy: Policy) -> Report:
        """Every check on every attester, appraised. Raises PolicyError for an unknown check id."""
        return audit_bundle(self.bundle, self.target, self.question, policy)

    def results(self) -> tuple[tuple[CheckResult, ...], ...]:
        """Every check on every attester, without a policy: no verdict follows."""
        return check_bundle(self.bundle, self.question)

    def timeline(self, on: int | None = None) -> "Timeline":
        """Who could run what, when; as things stood `on` an earlier time (Unix seconds).

        Raises MissingEvidence where the evidence holds no history of this app, EvidenceError where
        it proves another app, or endpoints contradict each other.
        """
        return app_timeline(self.bundle, self.question, on)


def collect(app_id: str, *, clock: Callable[[], int], sources: Sources | None = None) -> Bundle:
    """Collect the evidence about an app (40 hex digits) from where it is served.

    `clock` gives Unix seconds. A source that fails is recorded in the bundle; nothing is raised
    for it. Raises UsageError when `app_id` is not an app id.
    """
    return collect_evidence(_question(app_id, clock(), trusted=True), sources or Sources(), clock)


def verify(
    bundle: Bundle, app_id: str, *, at: int, policy: Policy, trusted: bool = False
) -> Report:
    """Audit a bundle as the evidence about an app, as of a time (Unix seconds).

    `trusted` vouches for what the bundle's collector witnessed: true for a bundle that this
    program collected itself. Raises UsageError when `app_id` is not an app id.
    """
    question = _question(app_id, at, trusted=trusted)
    return Audit(target=app_id, question=question, bundle=bundle).report(policy)


def _question(app_id: str, at: int, *, trusted: bool) -> Question:
    parsed = parse_app_id(app_id)
    if parsed is None:
        raise UsageError(f"{app_id!a} is not an app id (40 hex digits)")
    return Question(app_id=AppId(parsed), reference=embedded(), at=at, trusted=trusted)
