"""What a KMS is found to have signed for a quote, and for whom it does not speak."""

import pytest
from msgspec.structs import replace

from tests.worlds.audited import Audited, audit
from verifier.checks.application.app_certificate import certificates, problems_of, tie, vouched
from verifier.checks.case import Case
from verifier.evidence.chain.json_rpc import Exchanges
from verifier.evidence.subject import read_subject
from verifier.lab.knobs import Knobs


@pytest.fixture(scope="module")
def honest() -> Audited:
    return audit(Knobs())


def case_of(audited: Audited) -> Case:
    """The case of the first attester."""
    subject = read_subject(audited.bundle, audited.bundle.subjects[0])
    return Case(subject, audited.question, Exchanges(audited.bundle))


def test_a_known_kms_vouches_by_the_certificate_that_carries_the_quote(honest: Audited) -> None:
    said = vouched(case_of(honest))
    assert said == "a certificate carries this very quote under the CA of Lab KMS, onchain"


def test_no_kms_vouches_by_the_key_of_another(honest: Audited) -> None:
    """The certificate is as good as ever; that its CA is that KMS's, nothing confirms."""
    case = case_of(honest)
    record = case.kms_record
    assert record is not None
    vars(case)["kms_record"] = replace(record, ca_spki="05" * 91)
    assert vouched(case) == ""
    (source, *_) = certificates(case)
    assert tie(case, source)
    assert not problems_of(case, source)


def test_nobody_vouches_for_a_guest_whose_kms_nobody_knows(honest: Audited) -> None:
    case = case_of(honest)
    vars(case)["kms_record"] = None
    assert vouched(case) == ""


@pytest.mark.parametrize(
    "knobs", [Knobs(cert_forged=True), Knobs(cert_leaf_is_ca=True), Knobs(cert_usage="kms:rpc")]
)
def test_a_certificate_that_is_not_the_cas_vouches_for_nothing(knobs: Knobs) -> None:
    assert vouched(case_of(audit(knobs))) == ""
