"""The checks that need the policy, bound to it."""

import functools
from collections.abc import Iterable

from verifier.checks import governance, manifest
from verifier.checks.case import Case
from verifier.checks.engine import CheckSpec, Outcome
from verifier.checks.hardware import freshness as hardware
from verifier.policy import images
from verifier.policy.policy import Policy


def hardware_checks(policy: Policy) -> tuple[CheckSpec[Case], ...]:
    """Those about the platform."""
    return _bound(hardware.POLICY_CHECKS, policy)


def governance_checks(policy: Policy) -> tuple[CheckSpec[Case], ...]:
    """Those about who may change the app."""
    return _bound(governance.POLICY_CHECKS, policy)


def manifest_checks(policy: Policy) -> tuple[CheckSpec[Case], ...]:
    """Those about the measured manifest."""
    return _bound(manifest.POLICY_CHECKS, policy)


def image_checks(policy: Policy) -> tuple[CheckSpec[Case], ...]:
    """Those about the images that it names."""
    return _bound(images.POLICY_CHECKS, policy)


def _bound(
    specs: Iterable[CheckSpec[tuple[Case, Policy]]], policy: Policy
) -> tuple[CheckSpec[Case], ...]:
    return tuple(
        CheckSpec(
            spec.id,
            spec.title,
            spec.requires,
            spec.explanation,
            functools.partial(_apply, spec, policy),
        )
        for spec in specs
    )


def _apply(spec: CheckSpec[tuple[Case, Policy]], policy: Policy, case: Case) -> Outcome:
    return spec.run((case, policy))
