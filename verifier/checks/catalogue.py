"""Every check, in the order of the chain and of the report, and what no check looks at."""

from typing import Final

from verifier.checks import boot, endpoint, runtime
from verifier.checks.application import consistency, identity
from verifier.checks.authorization import contract, governance, history
from verifier.checks.engine import CheckSpec
from verifier.checks.hardware import freshness, gpu, host, quote, snp
from verifier.checks.key_management import attestation
from verifier.checks.key_management import keys as key_management
from verifier.checks.manifest import rules as manifest
from verifier.checks.provenance import check as provenance

CHECKS: Final[tuple[CheckSpec, ...]] = (
    *quote.CHECKS,
    *freshness.CHECKS,
    *host.CHECKS,
    *gpu.CHECKS,
    *snp.CHECKS,
    *boot.CHECKS,
    *runtime.CHECKS,
    *identity.CHECKS,
    *consistency.CHECKS,
    *key_management.CHECKS,
    *attestation.CHECKS,
    *contract.CHECKS,
    *history.CHECKS,
    *governance.CHECKS,
    *manifest.CHECKS,
    *provenance.CHECKS,
    *endpoint.CHECKS,
)

PLANNED: Final[dict[str, str]] = {}
"""Checks that a policy may ask for though there is none yet, and what is not covered without them:
one that is asked for counts as missing."""

UNNAMED_ENDPOINT: Final = (
    "The serving endpoint: no address that users connect to was named (--endpoint), so that nobody "
    "looked whether their connections end in this TD."
)
"""What an audit does not cover that is about no address."""

GAPS: Final = (
    "Instances that did not answer: a gateway chooses which instance of an app it shows.",
    "The gateway's own history: `verify timeline` shows it, the audit does not judge it.",
    "Images were not rebuilt from their source; those that a script starts were not looked for.",
    *dict.fromkeys(PLANNED.values()),
    "Certificates that were issued for an endpoint's name: no log of them (CT) was read.",
    "OS images are known by their registers; they were not rebuilt from source in this audit.",
)
"""What an audit does not cover."""
