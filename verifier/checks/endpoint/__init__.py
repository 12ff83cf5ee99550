"""The address that users connect to → the guest: whose key ends their connections, and who decides
where its name leads."""

from typing import Final

from verifier.checks.endpoint import domain as _domain
from verifier.checks.endpoint import logged as _logged
from verifier.checks.endpoint import tls as _tls
from verifier.checks.engine import CheckSpec

CHECKS: Final[tuple[CheckSpec, ...]] = (*_tls.CHECKS, *_domain.CHECKS, *_logged.CHECKS)
