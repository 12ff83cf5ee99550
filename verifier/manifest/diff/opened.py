"""What a variable opens once the operator sets it: the severity by the class of its name."""

from collections.abc import Iterable
from typing import Final

from verifier.model.result import Severity
from verifier.reference import env_classes
from verifier.reference.env_classes import classify

_CRITICAL: Final = frozenset({env_classes.ROOT, env_classes.PROC, env_classes.CODE})
_HIGH: Final = frozenset(
    {
        env_classes.TLSKEY,
        env_classes.SIGNKEY,
        env_classes.ADMIN,
        env_classes.POLICY,
        env_classes.URL,
    }
)
UNUSED_COUNTS: Final = frozenset({env_classes.ROOT, env_classes.PROC, env_classes.LAUNCH})
"""Classes that matter although the compose file does not read the name: the guest itself does."""


def severity_of(names: Iterable[str]) -> Severity:
    """The worst of the names' classes."""
    classes = {classify(name) for name in names}
    if classes & _CRITICAL:
        return Severity.CRITICAL
    return Severity.HIGH if classes & _HIGH else Severity.LOW


def worst(*severities: Severity) -> Severity:
    """The worst of some severities."""
    return min(severities, key=lambda severity: severity.rank)
