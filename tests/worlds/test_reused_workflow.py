"""A trusted workflow that anybody may call: its name in a certificate is not who called it."""

from typing import Final

import pytest
from msgspec.structs import replace

from tests.worlds.audited import Audited, audit
from tests.worlds.outcomes import assert_noticed, assert_stands
from verifier.evidence.codec import JsonObject
from verifier.lab.knobs import Knobs
from verifier.lab.registry import WEB, Image
from verifier.lab.sigstore import REPOSITORY, Sigstore, Workflow, provenance

TRUSTED: Final = f"{REPOSITORY}/.github/workflows/build.yml@refs/heads/main"
POLICY: Final = f'[signers]\nworkflows = ["{TRUSTED}"]'
ATTACKER: Final = "https://github.com/attacker/evil"
RUNNERS: Final = ("self-hosted", "github-hosted")


class Reused(Workflow, frozen=True, kw_only=True):
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
    [ATTACKER, REPOSITORY],
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


def called_by(
    repository: str, runner: str = "github-hosted", ref: str = "refs/heads/main"
) -> Audited:
    """An image that the trusted workflow built for a repository, which its label names."""

    def attest(sigstore: Sigstore, image: Image) -> list[JsonObject]:
        statement = provenance(image.hex_digest, repository=repository)
        return [sigstore.sign(statement, Reused(repository=repository, runner=runner, ref=ref))]

    return audit(Knobs(image=replace(WEB, source=repository), attest=attest))


def test_a_policy_names_the_repository_that_may_call() -> None:
    policy = f'{POLICY}\nsources = ["https://github.com/org/caller"]'
    assert_stands(called_by("https://github.com/org/caller").under(policy), "provenance.images")
    for other in (ATTACKER, REPOSITORY):
        assert_noticed(called_by(other).under(policy), "provenance.images")


def test_the_ref_of_a_workflow_is_none_of_the_repository_that_calls_it() -> None:
    policy = f'{POLICY}\nsources = ["https://github.com/org/caller"]'
    called = called_by("https://github.com/org/caller", ref="refs/tags/v1")
    assert_stands(called.under(policy), "provenance.images")


def test_a_runner_of_the_trusted_repository_itself_can_sign_anything() -> None:
    assert_noticed(called_by(REPOSITORY, "self-hosted").under(POLICY), "provenance.images")


def test_a_policy_may_name_the_source_alone() -> None:
    named = called_by(REPOSITORY).under(f'[signers]\nsources = ["{REPOSITORY}"]')
    assert_stands(named, "provenance.images")
    assert_noticed(
        called_by(ATTACKER).under(f'[signers]\nsources = ["{REPOSITORY}"]'), "provenance.images"
    )


@pytest.mark.parametrize("ref", ["refs/heads/anybody", "refs/pull/1/merge", ""])
def test_a_branch_of_the_trusted_repository_calls_the_workflow_of_another(ref: str) -> None:
    def attest(sigstore: Sigstore, image: Image) -> list[JsonObject]:
        return [sigstore.sign(provenance(image.hex_digest), Reused(ref=ref))]

    assert_noticed(audit(Knobs(attest=attest)).under(POLICY), "provenance.images")
