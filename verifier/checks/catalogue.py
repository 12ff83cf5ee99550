"""Every check of evidence, in the order of the chain."""

from typing import Final

from verifier.checks import authorization, boot, history, key_management, runtime
from verifier.checks.application import consistency
from verifier.checks.application import identity as application
from verifier.checks.case import Case
from verifier.checks.engine import CheckSpec
from verifier.checks.hardware import quote as hardware

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
