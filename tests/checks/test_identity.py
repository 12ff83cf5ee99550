"""Which app it is, and of which manifest."""

from typing import Final

import pytest

from tests.worlds.audited import Audited, audit
from verifier.checks.application.identity import manifest
from verifier.checks.case import Case
from verifier.evidence.chain.json_rpc import Exchanges
from verifier.evidence.subject import Located, read_subject
from verifier.lab.knobs import Knobs
from verifier.model.identifiers import AppId
from verifier.model.result import SkipKind, Status

IDENTITY: Final = "application.identity"
OTHER: Final = AppId("07" * 20)


@pytest.fixture(scope="module")
def honest() -> Audited:
    return audit(Knobs())


@pytest.mark.parametrize("knobs", [Knobs(), Knobs(no_instance_id=True)], ids=["an id", "none"])
def test_another_app_is_refused_whether_it_has_instances_or_not(knobs: Knobs) -> None:
    audited = audit(knobs)
    assert audited.check(IDENTITY)[0].status is Status.PASS
    (refused,) = audited.again(app_id=OTHER).check(IDENTITY)
    assert refused.status is Status.FAIL
    assert (refused.expected, refused.actual) == (OTHER, audited.world.app_id)
    (unasked,) = audited.again(app_id=None).check(IDENTITY)
    assert unasked.skip_kind is SkipKind.MISSING_EVIDENCE
    assert f"--expect-app-id {audited.world.app_id}" in unasked.remediation


def given(honest: Audited, *manifests: bytes) -> Case:
    """The case of the honest guest, with these manifests in the place of its own."""
    subject = read_subject(honest.bundle, honest.bundle.subjects[0])
    located = subject.manifests[0].artifact
    subject.manifests[:] = [Located(raw, located) for raw in manifests]
    return Case(subject, honest.question, Exchanges(honest.bundle))


def test_the_manifest_is_the_one_of_the_measured_hash(honest: Audited) -> None:
    own = read_subject(honest.bundle, honest.bundle.subjects[0]).manifests[0].value
    hashes = [
        "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
        "ca3d163bab055381827226140568f3bef7eaac187cebd76878e0b63e9e442356",
    ]
    for manifests in ((own,), (b"{}", own), (own, b"{} ")):
        assert manifest.run(given(honest, *manifests)).status is Status.PASS
    for others, actual in (((b"{}",), hashes[0]), ((b"{}\n", b"{}"), hashes)):
        refused = manifest.run(given(honest, *others))
        assert (refused.status, refused.actual) == (Status.FAIL, actual)
