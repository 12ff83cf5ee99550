"""Which collateral counts: whatever its files are called, and whatever lies beside it."""

import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from msgspec.structs import replace

from tests.worlds.audited import Audited, audit, judged, shuffled
from verifier.audit import audit_bundle
from verifier.checks.case import Case
from verifier.checks.dcap import verify_quote
from verifier.checks.hardware.quote import td
from verifier.evidence.bundle import Bundle, BundleBuilder, Kind
from verifier.evidence.chain.json_rpc import Exchanges
from verifier.evidence.import_files import import_files
from verifier.evidence.subject import read_subject
from verifier.evidence.td.quote import SEPT_VE_DISABLE_BIT
from verifier.lab import forgeries as forge
from verifier.lab.knobs import DAY, Knobs
from verifier.lab.pki import build_pki, der, pem_chain
from verifier.lab.world import build
from verifier.model.result import CheckResult, SkipKind, Status, Verdict
from verifier.policy.policy import load_policy

LOCAL = Knobs(key_provider="local-sgx", app_key_report_data=b"N" * 64)
SHUFFLED = (
    Knobs(),
    Knobs(revoked=frozenset({"pck"})),
    Knobs(tcb_status="OutOfDate"),
    Knobs(others=(Knobs(),)),
    Knobs(cert_attestation="msgpack-v1"),
    LOCAL,
)


def document(audited: Audited, **changes: object) -> tuple[Kind, bytes]:
    given = {**audited.world.collateral.document(), **changes}
    return Kind.COLLATERAL, json.dumps(given).encode()


def hardware_quote(audited: Audited) -> CheckResult:
    return audited.check("hardware.quote")[0]


def without_pcs(audited: Audited, *evidence: tuple[Kind, bytes]) -> Audited:
    """The same with this collateral in the place of what the PCS answered."""
    kept = tuple(i for i in audited.bundle.artifacts if not i.kind.value.startswith("pcs-"))
    return audited.again(Bundle(kept, audited.bundle.blobs)).handing_over(evidence)


@pytest.mark.parametrize("names", [("a", "z"), ("z", "a")])
@pytest.mark.parametrize("role", ["pck", "platform-ca", "tcb-signing"])
def test_an_older_list_hides_no_revocation(role: str, names: tuple[str, str]) -> None:
    audited = audit(replace(LOCAL, revoked=frozenset({role})), challenge=b"N" * 64)
    kinds = (Kind.APP_KEY_QUOTE, Kind.INFO, Kind.PAGE)
    files = [(item.kind.value, audited.bundle.blob(item)) for kind in kinds
             for item in audited.bundle.of(kind)]  # fmt: skip
    ((_, older),) = forge.older_lists(audited.world)
    newer = document(audited)[1]
    files += [(names[0], older), (names[1], newer)]
    bundle = import_files(files, collected_at=audited.world.now)
    report = audit_bundle(
        bundle, "x", replace(audited.question, trusted=False), load_policy("genuine")
    )
    assert report.verdict is Verdict.CONTRAINDICATED


@pytest.mark.parametrize("knobs", SHUFFLED, ids=range(len(SHUFFLED)))
def test_names_and_order_change_no_report(knobs: Knobs) -> None:
    audited = audit(knobs)
    lists = build_pki(replace(audited.world.pki_options, revoked=frozenset()))
    crowded = audited.handing_over(
        (
            *forge.kinder_collateral(audited.world),
            *forge.older_lists(audited.world),
            document(audited, root_ca_crl=""),
            (Kind.PCS_ROOT_CA_CRL, lists.root_ca_crl),
        )
    )
    for each in (audited, crowded):
        for seed in range(3):
            assert judged(each.again(shuffled(each.bundle, str(seed)))) == judged(each)


def unsigned_newer(audited: Audited) -> tuple[Kind, bytes]:
    info = json.loads(audited.world.collateral.tcb_info)
    return document(audited, tcb_info=json.dumps({**info, "tcbEvaluationDataNumber": 9999}))


BESIDE: dict[str, Callable[[Audited], tuple[Kind, bytes]]] = {
    "unsigned": unsigned_newer,
    "no JSON": lambda _: (Kind.COLLATERAL, b"{"),
    "no chain": lambda item: document(item, tcb_info_issuer_chain=""),
    "no signature": lambda item: document(item, qe_identity_signature=""),
    "no list": lambda item: document(item, pck_crl="", root_ca_crl=""),
    "a stranger in the chain": lambda item: document(
        item,
        tcb_info_issuer_chain=item.world.pki.tcb_chain + pem_chain([item.world.pki.pck]).decode(),
    ),
    "list of somebody": lambda item: (
        Kind.PCS_PCK_CRL,
        build_pki(replace(item.world.pki_options, rogue=frozenset({"pck-crl"}))).pck_crl,
    ),
    "another platform": lambda item: document(
        item, tcb_info=item.world.collateral.tcb_info.replace("1abc0de0", "2abc0de0")
    ),
    "of an enclave": lambda item: document(
        item, tcb_info=item.world.collateral.tcb_info.replace('"TDX"', '"SGX"', 1)
    ),
}


@pytest.mark.parametrize("name", BESIDE)
def test_one_bad_file_beside_a_good_one_refuses_no_good_quote(honest: Audited, name: str) -> None:
    audited = honest.handing_over((BESIDE[name](honest),))
    assert audited.report.verdict is Verdict.AFFIRMING
    if name not in ("another platform", "of an enclave", "a stranger in the chain"):
        assert "set aside" in hardware_quote(audited).reason


CHAINS = ("tcb_info_issuer_chain", "qe_identity_issuer_chain")


@pytest.mark.parametrize(
    "changes",
    [
        {"tcb_info_issuer_chain": ""},
        {"qe_identity_issuer_chain": ""},
        {"tcb_info_issuer_chain": "-----BEGIN CERTIFICATE-----\\nMII\\n"},
        {"tcb_info_signature": ""},
        {"qe_identity_signature": "00"},
        {"pck_crl": ""},
        {"root_ca_crl": "00"},
    ],
    ids=repr,
)
def test_what_cannot_be_read_says_nothing_against_the_quote(
    honest: Audited, changes: dict[str, str]
) -> None:
    audited = without_pcs(honest, document(honest, **changes))
    assert hardware_quote(audited).status is Status.ERROR
    assert audited.report.verdict is Verdict.NONE


@pytest.mark.parametrize("chain", CHAINS)
def test_each_document_has_a_signer_that_is_in_force(honest: Audited, chain: str) -> None:
    """The same key, in a certificate whose time is over."""
    over = build_pki(replace(honest.world.pki_options, expired=frozenset({"tcb-signing"})))
    asked = without_pcs(honest, document(honest, **{chain: over.tcb_chain}))
    assert hardware_quote(asked).skip_kind is SkipKind.MISSING_EVIDENCE
    assert asked.report.verdict is Verdict.NONE


def test_chains_as_headers_spell_them_are_read(honest: Audited) -> None:
    given = honest.world.collateral.document()
    spelled = {name: quote(str(given[name])) for name in (*CHAINS, "pck_crl_issuer_chain")}
    assert without_pcs(honest, document(honest, **spelled)).report.verdict is Verdict.AFFIRMING


def test_collateral_without_lists_says_so_and_takes_them_from_elsewhere(honest: Audited) -> None:
    given = honest.world.collateral.document()
    names = (*CHAINS, "tcb_info", "tcb_info_signature", "qe_identity", "qe_identity_signature")
    old = Kind.COLLATERAL, json.dumps({name: given[name] for name in names}).encode()
    bare = without_pcs(honest, old)
    assert hardware_quote(bare).skip_kind is SkipKind.MISSING_EVIDENCE
    assert "revocation list" in hardware_quote(bare).summary
    lists = ((Kind.PCS_PCK_CRL, honest.world.pki.pck_crl),
             (Kind.PCS_PCK_CRL, honest.world.pki.root_ca_crl))  # fmt: skip
    assert without_pcs(honest, old, *lists).report.verdict is Verdict.AFFIRMING


def test_revocation_lists_are_recognised_as_files(honest: Audited) -> None:
    pki = honest.world.pki
    files = [("a", pki.pck_crl), ("b", pki.root_ca_crl.hex().encode())]
    kinds = {item.kind for item in import_files(files, collected_at=1).artifacts}
    assert kinds == {Kind.PCS_PCK_CRL}


@pytest.mark.parametrize("offset", [-1, 0, 30 * DAY - 1, 30 * DAY])
def test_the_window_of_collateral_is_exact(offset: int) -> None:
    audited = audit(Knobs(collateral_age=2 * DAY))
    issued = audited.world.now - 2 * DAY
    result = hardware_quote(audited.again(at=issued + offset))
    inside = 0 <= offset < 30 * DAY
    assert result.status is (Status.PASS if inside else Status.SKIP)
    if not inside:
        assert result.skip_kind is SkipKind.MISSING_EVIDENCE
        assert "--at 2026-07-13T11:59:59Z" in result.remediation


def test_before_its_certificate_a_quote_lacks_endorsement(honest: Audited) -> None:
    result = hardware_quote(honest.again(at=honest.world.now - 400 * DAY))
    assert result.skip_kind is SkipKind.MISSING_EVIDENCE


def test_a_forged_quote_is_refused_at_every_time() -> None:
    audited = audit(Knobs(edit_quote=forge.flipped(forge.SIGNATURE + 8)))
    for at in (audited.world.now, audited.world.now + 90 * DAY):
        assert hardware_quote(audited.again(at=at)).status is Status.FAIL


def test_a_list_from_after_the_time_of_judgement_revokes_nothing_and_warns(
    honest: Audited,
) -> None:
    options = replace(
        honest.world.pki_options,
        crl_issued=honest.world.now + 1,
        revoked=frozenset({"pck", "platform-ca"}),
    )
    later = build_pki(options)
    lists = ((Kind.PCS_PCK_CRL, later.pck_crl), (Kind.PCS_ROOT_CA_CRL, later.root_ca_crl))
    audited = honest.handing_over(lists)
    assert hardware_quote(audited).status is Status.PASS
    (freshness,) = audited.check("hardware.freshness")
    assert freshness.status is Status.WARN
    assert "newer revocation list of the root" in freshness.summary
    assert hardware_quote(audited.again(at=honest.world.now + 1)).status is Status.FAIL


@pytest.mark.parametrize(("age", "status"), [(400, Status.PASS), (401, Status.WARN)])
def test_the_roots_list_has_a_limit_of_its_own(honest: Audited, age: int, status: Status) -> None:
    old = build_pki(replace(honest.world.pki_options, crl_issued=honest.world.now - age * DAY))
    given = document(honest, root_ca_crl=old.root_ca_crl.hex())
    (freshness,) = without_pcs(honest, given).check("hardware.freshness")
    assert freshness.status is status


def test_two_documents_of_one_number_and_date_are_an_error() -> None:
    audited = audit(Knobs())
    other = build(Knobs(tcb_status="OutOfDate")).collateral.document()
    both = audited.handing_over(((Kind.COLLATERAL, json.dumps(other).encode()),))
    assert hardware_quote(both).status is Status.ERROR


def first_case(audited: Audited) -> Case:
    subject = read_subject(audited.bundle, audited.bundle.subjects[0])
    return Case(subject, audited.question, Exchanges(audited.bundle))


KNOWN_BITS = {28, 30, 31}


@pytest.mark.parametrize("bit", range(64))
def test_every_attribute_bit_is_known_or_refused(honest: Audited, bit: int) -> None:
    case = first_case(honest)
    attributes = SEPT_VE_DISABLE_BIT | 1 << bit
    case.quote = replace(case.quote, td_attributes=attributes)
    expected = Status.PASS if bit in KNOWN_BITS else Status.FAIL
    assert td.run(case).status is expected


@pytest.mark.parametrize("field", ["mr_signer_seam", "seam_attributes", "mr_service_td"])
@pytest.mark.parametrize("place", [0, 3, -1])
def test_one_byte_of_what_must_be_zero(honest: Audited, field: str, place: int) -> None:
    case = first_case(honest)
    value = bytearray(8 if field == "seam_attributes" else 48)
    value[place] = 1
    case.quote = replace(case.quote, **{field: bytes(value)})
    assert td.run(case).status is Status.FAIL


def test_a_quote_without_a_readable_certificate_is_malformed(honest: Audited) -> None:
    raw = honest.world.guest.quote(bytes(64))
    broken = raw.replace(b"-----BEGIN CERTIFICATE-----", b"-----BEGIN CERTIFICATE=----", 1)
    builder = BundleBuilder()
    builder.add(Kind.QUOTE, broken, source="q", collected_at=1)
    builder.add(*document(honest), source="c", collected_at=1)
    result = hardware_quote(honest.again(builder.build()))
    assert result.status is Status.ERROR
    assert "PCK certificate" in result.summary
    assert "crashed" not in result.reason


@pytest.mark.parametrize("root", ["der", "leaf"])
def test_a_trust_anchor_that_is_none_verifies_nothing(honest: Audited, root: str) -> None:
    anchor = b"no certificate" if root == "der" else der(honest.world.pki.tcb_signing)
    reference = honest.question.reference.with_root(anchor, "unsafe")
    result = hardware_quote(honest.again(reference=reference))
    assert result.status in (Status.FAIL, Status.ERROR)
    assert "crashed" not in result.reason


def test_a_trust_anchor_is_checked_before_the_library_sees_it(honest: Audited) -> None:
    quote_bytes = honest.world.guest.quote(bytes(64))
    for anchor, said in ((b"x", "no"), (der(honest.world.pki.tcb_signing), "not a root")):
        assert said in verify_quote(quote_bytes, {}, anchor, honest.world.now).failure


def test_without_a_dated_evaluation_the_tcb_is_a_warning(honest: Audited) -> None:
    reference = replace(honest.question.reference, tcb_evaluations=())
    (result,) = honest.again(reference=reference).check("hardware.tcb")
    assert result.status is Status.WARN
    assert "no reference says" in result.summary


@pytest.mark.parametrize(
    ("rejected", "fails"), [("INTEL-SA-00001", True), ("INTEL-SA-00002", False)]
)
def test_an_advisory_that_the_policy_rejects(
    tmp_path: Path,
    rejected: str,
    fails: bool,  # noqa: FBT001 - a column of the table
) -> None:
    audited = audit(Knobs(advisories=("INTEL-SA-00001",)))
    path = tmp_path / "policy.toml"
    path.write_text(f'extends = "baseline"\n[tcb]\nreject_advisories = ["{rejected}"]\n', "utf-8")
    report = audit_bundle(audited.bundle, "x", audited.question, load_policy(str(path)))
    (result,) = [item for item in report.subjects[0].checks if item.id == "hardware.tcb"]
    assert (result.status is Status.FAIL) is fails


def test_the_age_of_collateral_is_that_of_its_oldest_part(honest: Audited) -> None:
    old = build_pki(replace(honest.world.pki_options, crl_issued=honest.world.now - 40 * DAY))
    given = document(honest, pck_crl=old.pck_crl.hex())
    (freshness,) = without_pcs(honest, given).check("hardware.freshness")
    assert "the collateral is 40 days old" in freshness.summary
