"""Several genuine attestations of one image, at several commits: all of them are true, and which of
them GitHub lists first decides nothing."""

import json
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from tests.worlds.audited import Audited, audit
from verifier.evidence.bundle import Kind
from verifier.evidence.codec import JsonObject
from verifier.lab import keys
from verifier.lab.knobs import Knobs
from verifier.lab.registry import WEB, Image
from verifier.lab.sigstore import COMMIT, Sigstore, Workflow, provenance
from verifier.model.result import Status, Verdict

IMAGES = "provenance.images"
CONSISTENCY = "application.consistency"
OTHERS = [keys.labelled(f"commit {number}", 20).hex() for number in range(6)]

Attest = Callable[[Sigstore, Image], list[JsonObject]]


def at(*commits: str) -> Attest:
    """The attestations of a workflow's runs at these commits, in this order."""

    def attest(sigstore: Sigstore, image: Image) -> list[JsonObject]:
        return [
            sigstore.sign(provenance(image.hex_digest, commit=commit), Workflow(commit=commit))
            for commit in commits
        ]

    return attest


def with_proof(audited: Audited, commit: str) -> Audited:
    """The same, where the app publishes a proof that names a commit."""
    proof = json.loads(json.dumps(audited.world.proof))
    proof["source"]["commit"] = commit
    return audited.handing_over([(Kind.PROOF, json.dumps(proof).encode())])


@pytest.mark.parametrize("revision", [COMMIT, "v1.2.3"])
@pytest.mark.parametrize("other", OTHERS)
def test_a_proof_of_either_commit_agrees(other: str, revision: str) -> None:
    for commits in ((COMMIT, other), (other, COMMIT)):
        audited = audit(Knobs(attest=at(*commits), image=replace(WEB, revision=revision)))
        assert audited.report.verdict is Verdict.AFFIRMING
        assert other in audited.check(IMAGES)[0].reason
        for commit in (COMMIT, other):
            told = with_proof(audited, commit)
            assert told.check(CONSISTENCY)[0].status is Status.PASS
            assert told.report.verdict is Verdict.AFFIRMING
            proven = told.report.subjects[0].proven
            assert (proven.repository, proven.commit) == (Workflow().repository, "")
        told = with_proof(audited, "0" * 40)
        assert told.check(CONSISTENCY)[0].status is Status.FAIL
        assert told.report.verdict is Verdict.CONTRAINDICATED


@pytest.mark.parametrize("other", OTHERS[1:])
def test_a_label_that_no_build_is_of_is_a_finding(other: str) -> None:
    for commits in ((OTHERS[0], other), (other, OTHERS[0])):
        audited = audit(Knobs(attest=at(*commits)))
        assert audited.check(IMAGES)[0].status is Status.WARN
        assert audited.report.verdict is Verdict.WARNING


def test_one_build_is_proven() -> None:
    audited = audit(Knobs(attest=at(COMMIT, COMMIT)))
    proven = audited.report.subjects[0].proven
    assert (proven.repository, proven.commit) == (Workflow().repository, COMMIT)
    assert audited.check(IMAGES)[0].reason == ""
