"""Every check of evidence, in the order of the chain."""

from typing import Final

from verifier.checks import (
    application,
    authorization,
    boot,
    consistency,
    hardware,
    history,
    key_management,
    runtime,
)
from verifier.checks.case import Case
from verifier.checks.spec import CheckSpec

CHECKS: Final[tuple[CheckSpec[Case], ...]] = (
    *hardware.CHECKS,
    *boot.CHECKS,
    *runtime.CHECKS,
    *application.CHECKS,
    *consistency.CHECKS,
    *key_management.CHECKS,
    *authorization.CHECKS,
    *history.CHECKS,
)
