"""The images of the measured manifest, under what a policy demands of their origin."""

from typing import Final

from verifier.checks import provenance
from verifier.checks.case import Case
from verifier.checks.engine import CheckSpec, Outcome
from verifier.checks.images import named_images
from verifier.checks.provenance import Images
from verifier.checks.sigstore import Identity
from verifier.policy.policy import Policy


def _run(given: tuple[Case, Policy]) -> Outcome:
    case, policy = given
    return provenance.images.run(
        Images(
            images=named_images(case),
            bundle=case.evidence.bundle,
            at=case.question.at,
            signers=tuple(Identity(item) for item in policy.workflows),
            expected=policy.expected_images,
            trusted=case.question.trusted,
            trusted_root=case.reference.sigstore,
        )
    )


POLICY_CHECKS: Final = (
    CheckSpec(
        provenance.images.id,
        provenance.images.title,
        provenance.images.requires,
        provenance.images.explanation,
        _run,
    ),
)
