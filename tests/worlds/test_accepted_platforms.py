"""What a relying party accepts of a platform, and what else comes with it."""

from functools import cache
from typing import Final

import pytest

from tests.worlds.audited import Audited, audit
from tests.worlds.outcomes import AcceptedError, assert_noticed, assert_stands
from verifier.lab import forgeries as forge
from verifier.lab.knobs import Knobs
from verifier.model.result import Verdict

TCB: Final = "hardware.tcb"
ALLOWED: Final = "authorization.allowed"
OLDER_SVN: Final = bytes.fromhex("05010200") + bytes(12)
ADVISORIES: Final = ("INTEL-SA-01036", "INTEL-SA-01099")
"""Those of the second level of the lab's TCB info, which such a platform meets."""


@cache
def behind() -> Audited:
    """A TD 1.5 that was launched under a better TCB than the platform's current one."""
    return audit(Knobs(quote_format="v5-td15", edit_td=forge.td(tee_tcb_svn2=OLDER_SVN)))


def accepting(*rejected: str) -> Audited:
    """The same under a policy that accepts it, but for some advisories."""
    names = ", ".join(f'"{item}"' for item in rejected)
    table = f'[tcb]\nstatuses = ["UpToDate", "OutOfDate"]\nreject_advisories = [{names}]'
    return behind().under(table)


def test_the_current_tcb_counts() -> None:
    assert_noticed(behind(), TCB, refusing=True)
    assert accepting().report.verdict is Verdict.AFFIRMING


@pytest.mark.parametrize("advisory", ADVISORIES)
def test_an_advisory_of_the_current_tcb_is_rejected(advisory: str) -> None:
    assert_noticed(accepting(advisory), TCB, refusing=True)


def test_advisories_of_the_current_tcb_are_claimed() -> None:
    claim = behind().claims()["tcb_advisories"]
    if not set(ADVISORIES) <= set(claim.value if isinstance(claim.value, list) else ()):
        raise AcceptedError(f"{claim.name}: {claim.value}")


def test_a_device_by_the_id_that_every_later_kms_asks_by() -> None:
    assert_stands(audit(Knobs()), ALLOWED, verdict=Verdict.AFFIRMING)


@pytest.mark.parametrize("kms_version", ["0.5.5", "0.5.8"])
def test_a_device_by_the_id_of_older_releases_alone(kms_version: str) -> None:
    """A later KMS asks for the sha256 of the PPID and gets a no; only the absence of dates in what
    it signs says that it is an older one, and anyone who hands that over can remove them."""
    knobs = Knobs(device_binding="user-data", kms_version=kms_version, version=kms_version)
    assert_noticed(audit(knobs), ALLOWED)
