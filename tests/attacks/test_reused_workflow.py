"""A trusted workflow that anybody may call: its name in a certificate is not who called it."""

from dataclasses import dataclass, replace
from typing import Final

import pytest

from tests.attacks.audited import audit
from tests.attacks.outcomes import assert_noticed, assert_stands, open_forgery
from verifier.evidence.codec import JsonObject
from verifier.lab.knobs import Knobs
from verifier.lab.registry import WEB, Image
from verifier.lab.sigstore import REPOSITORY, Sigstore, Workflow, provenance

TRUSTED: Final = f"{REPOSITORY}/.github/workflows/build.yml@refs/heads/main"
POLICY: Final = f'[signers]\nworkflows = ["{TRUSTED}"]'
ATTACKER: Final = "https://github.com/attacker/evil"
RUNNERS: Final = ("self-hosted", "github-hosted")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reused(Workflow):
    """The trusted workflow as another repository calls it: Fulcio names the called workflow in the
    subject, and the caller's repository in the extensions."""

    @property
    def identity(self) -> str:
        """The subject alternative name."""
        return TRUSTED


def test_the_trusted_repository_itself_is_accepted() -> None:
    assert_stands(audit(Knobs()).under(POLICY), "provenance.images")


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize(
    "source",
    [pytest.param(ATTACKER, marks=open_forgery), REPOSITORY],
    ids=["the image names the caller", "the image names the trusted repository"],
)
def test_another_repository_calls_the_trusted_workflow(source: str, runner: str) -> None:
    def attest(sigstore: Sigstore, image: Image) -> list[JsonObject]:
        statement = provenance(image.hex_digest, repository=ATTACKER)
        return [sigstore.sign(statement, Reused(repository=ATTACKER, runner=runner))]

    image = replace(WEB, source=source)
    audited = audit(Knobs(image=image, attest=attest))
    assert audited.check("provenance.images")[0].actual
    assert_noticed(audited.under(POLICY), "provenance.images")
