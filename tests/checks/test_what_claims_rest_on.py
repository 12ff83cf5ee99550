"""What each claim rests on: where a check that it needs has no usable result, it is a word, or none
at all."""

import hashlib
from collections.abc import Mapping
from typing import Final

import pytest
from msgspec.structs import replace

from tests.worlds.audited import Audited, audit
from verifier.checks import claims
from verifier.checks.case import Case
from verifier.checks.claims import make_claims
from verifier.evidence.chain.json_rpc import Exchanges
from verifier.evidence.subject import read_subject
from verifier.lab.attacks.attack import PASSED_THROUGH
from verifier.lab.knobs import Knobs
from verifier.model.identifiers import format_time
from verifier.model.result import Basis, CheckResult, Claim, Status

WORDS: Final = (Basis.ASSERTED, Basis.UNKNOWN)
QUOTE: Final = frozenset({"hardware.quote"})
TD: Final = QUOTE | {"hardware.td"}
GUEST: Final = frozenset({"hardware.td", "boot.image", "runtime.events"})
RUNTIME: Final = QUOTE | GUEST | {"runtime.replay"}
PROVIDER: Final = "key_management.provider"
RESTS_ON: Final = {
    **dict.fromkeys(("mrtd", "rtmr0", "rtmr1", "rtmr2", "rtmr3"), TD),
    **dict.fromkeys(("report_data", "mr_config_id"), TD),
    **dict.fromkeys(("td_attributes", "device_id", "fmspc", "os_image", "os_image_hash"), QUOTE),
    **dict.fromkeys(("tcb_status", "tcb_advisories", "tcb_evaluation_number"), QUOTE),
    **dict.fromkeys(("collateral_issued", "collateral_expires"), QUOTE),
    **dict.fromkeys(("compose_hash", "instance_id", "mr_kms", "key_provider"), RUNTIME),
    "app_id": RUNTIME | {"application.identity"},
    "images": RUNTIME | {"application.manifest"},
    "machine": TD | {"boot.machine"},
    "kms": RUNTIME | {PROVIDER},
    "kms_root": RUNTIME | {PROVIDER},
    "kms_guest": GUEST | {PROVIDER, "key_management.attestation"},
    **dict.fromkeys(("app_owner", "kms_owner", "app_contract"), GUEST | {"authorization.contract"}),
    "block": frozenset({"authorization.contract"}),
    "endpoint_key": QUOTE | GUEST | {"application.identity", "endpoint.tls"},
}


@pytest.fixture(scope="module")
def met() -> Audited:
    return audit(Knobs(), endpoint=PASSED_THROUGH)


@pytest.fixture(scope="module")
def case(met: Audited) -> Case:
    subject = read_subject(met.bundle, met.bundle.subjects[0])
    return Case(subject, met.question, Exchanges(met.bundle))


@pytest.fixture(scope="module")
def results(met: Audited) -> dict[str, CheckResult]:
    return {item.id: item for item in met.report.subjects[0].checks}


def claimed(
    case: Case, results: Mapping[str, CheckResult], check_id: str, status: Status
) -> dict[str, Claim]:
    """The claims where one check comes out so."""
    changed = {**results, check_id: replace(results[check_id], status=status)}
    return {item.name: item for item in make_claims(case, changed)}


@pytest.mark.parametrize("status", [Status.FAIL, Status.SKIP, Status.ERROR])
def test_a_claim_is_a_word_without_what_it_rests_on(
    case: Case, results: dict[str, CheckResult], status: Status
) -> None:
    whole = {item.name for item in make_claims(case, results) if item.basis not in WORDS}
    assert whole == RESTS_ON.keys()
    needed: dict[str, set[str]] = {name: set() for name in whole}
    for check_id in results:
        found = claimed(case, results, check_id, status)
        for name in whole:
            if name not in found or found[name].basis in WORDS:
                needed[name].add(check_id)
    assert needed == RESTS_ON


def test_a_warning_takes_only_what_is_in_doubt(case: Case, results: dict[str, CheckResult]) -> None:
    lost = {
        (check_id, name)
        for check_id in results
        for found in [claimed(case, results, check_id, Status.WARN)]
        for name in RESTS_ON
        if name not in found or found[name].basis in WORDS
    }
    assert lost == {("application.identity", "app_id"), ("boot.machine", "machine")}


def test_a_root_key_is_the_kmss_own_where_it_signed(
    case: Case, results: dict[str, CheckResult]
) -> None:
    check_id = "key_management.root"
    signed = claimed(case, results, check_id, Status.PASS)["kms_root"]
    assert (signed.basis, signed.evidence) == (Basis.KMS, results[check_id].evidence)
    known = claimed(case, results, check_id, Status.SKIP)["kms_root"]
    assert known.basis is Basis.REFERENCE
    assert known.evidence == (case.presented.log_evidence,)


def test_what_the_guest_says_of_its_kms_is_a_word_where_no_certificate_does(
    case: Case, results: dict[str, CheckResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "vouched", lambda _case: "")
    found = {item.name: item for item in make_claims(case, results)}
    assert {found[name].basis for name in ("kms", "kms_root")} == {Basis.ASSERTED}
    monkeypatch.setattr(claims, "confirmed_kms", lambda _case: None)
    assert not {"kms", "kms_root"} & {item.name for item in make_claims(case, results)}


def test_what_an_event_says_of_the_image_is_a_word_where_the_registers_tell_none(
    met: Audited, case: Case
) -> None:
    unknown = met.again(reference=replace(met.question.reference, os_images=()))
    claim = unknown.claims()["os_image_hash"]
    assert (claim.basis, claim.value) == (Basis.ASSERTED, met.claims()["os_image_hash"].value)
    assert claim.evidence == (case.presented.log_evidence,)


def test_what_is_read_from_the_platform_and_the_chain(met: Audited, case: Case) -> None:
    found = met.claims()
    assert found["device_id"].value == hashlib.sha256(case.verified.ppid).hexdigest()
    block = found["block"].value
    assert isinstance(block, dict)
    _, view = case.kms_contract() or (None, None)
    assert view is not None
    digest, mined = view.header.value
    assert (block["hash"], block["time"]) == (digest, format_time(mined))


def test_a_key_that_nobody_is_known_to_hold_is_a_word(
    case: Case, results: dict[str, CheckResult]
) -> None:
    held = results["endpoint.tls"]
    assert isinstance(held.actual, dict)
    nobodys = replace(held, actual={**held.actual, "held_by": ""})
    found = {item.name: item for item in make_claims(case, {**results, held.id: nobodys})}
    assert found["endpoint_key"].basis is Basis.ASSERTED
