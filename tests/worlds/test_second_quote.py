"""With a second opinion, a quote that two verifiers judge otherwise decides nothing."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from msgspec.structs import replace as replaced

from benchmarks.quote_changes import Asked, of_world, simulated, taken_apart
from benchmarks.second_opinion import over_changed, real
from tests.evidence.recorded import needs_recorded
from tests.worlds.audited import Audited, audit
from verifier.checks import agreement
from verifier.checks.agreement import differences, need_agreement, quote_opinion
from verifier.checks.dcap import DcapResult, verify_quote
from verifier.checks.second_opinion.judge import Judgement, judge_quote
from verifier.errors import EvidenceError
from verifier.evidence.chain.json_rpc import Exchanges
from verifier.lab import forgeries as forge
from verifier.lab.knobs import DAY, Knobs
from verifier.lab.quote import SEPT_VE_DISABLE
from verifier.model.report import QuoteOpinion
from verifier.model.result import Status, Verdict
from verifier.report.audit import earlier, sentences
from verifier.report.audit.json import render_json

RELABELLED = Knobs(edit_quote=forge.flipped(forge.SIGNATURE + 128))
"""A quote whose certification data says that it is of type 7, which only one verifier reads."""


ROOT = Path(__file__).parents[2]
SCHEMA = Draft202012Validator(
    json.loads((ROOT / "docs/schema/report-v1.schema.json").read_text("utf-8"))
)

OLD, NEW = (bytes([5, 1, version]) + bytes(13) for version in (2, 3))
"""Security versions of TDX modules, of which the first are out of date."""


def opinions(asked: Asked) -> tuple[DcapResult, Judgement]:
    given = (asked.quote, asked.members, asked.root, asked.at)
    return verify_quote(*given), judge_quote(*given)


def second(audited: Audited) -> QuoteOpinion:
    found = audited.report.second_opinion
    assert found is not None
    assert found.quote is not None
    return found.quote


def assert_both_are_named(audited: Audited, *words: str) -> None:
    assert audited.report.verdict is Verdict.NONE
    for check_id in ("hardware.quote", "hardware.tcb"):
        for result in audited.check(check_id):
            assert result.status is Status.ERROR
            for word in ("dcap_qvl 0.", "own verifier (cryptography ", *words):
                assert word in result.reason
    for check_id in ("runtime.replay", "application.identity", "application.binding"):
        for result in audited.check(check_id):
            assert result.status not in (Status.PASS, Status.WARN)
    assert second(audited).disagreements


def test_honest_quotes_are_judged_alike_and_nothing_else_changes(honest: Audited) -> None:
    again = honest.again(second_opinion=True)
    assert again.report.verdict is Verdict.AFFIRMING
    assert again.report.subjects == honest.report.subjects
    assert second(again).quotes > 1
    assert not second(again).disagreements
    assert "own verifier" in sentences.second_reader(again.report)
    assert "quotes as dcap_qvl does" in sentences.second_reader(again.report)


def test_a_disagreement_stays_where_the_quote_is_judged_again(
    honest: Audited, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One quote may be shown by two attesters, with collateral on which alone the two differ."""
    exchanges = Exchanges(honest.bundle)
    monkeypatch.setattr(agreement, "judge_quote", lambda *_: Judgement())
    with pytest.raises(EvidenceError, match="disagree"):
        need_agreement(b"quote", {}, b"", 0, DcapResult(failure="no"), exchanges)
    monkeypatch.setattr(agreement, "judge_quote", lambda *_: Judgement(failure="no"))
    need_agreement(b"quote", {}, b"", 0, DcapResult(failure="no"), exchanges)
    found = quote_opinion(exchanges)
    assert (found.quotes, len(found.disagreements)) == (0, 1)


def test_an_earlier_report_is_read_with_and_without_it(honest: Audited) -> None:
    report = honest.again(second_opinion=True).report
    written = render_json(report)
    SCHEMA.validate(json.loads(written))
    assert earlier.read_report(written).second_opinion == report.second_opinion
    assert report.second_opinion is not None
    before = replaced(report, second_opinion=replaced(report.second_opinion, quote=None))
    assert earlier.read_report(render_json(before)).second_opinion == before.second_opinion
    assert "quotes" not in sentences.second_reader(before)


def test_a_quote_that_only_the_first_verifier_accepts() -> None:
    plain = audit(RELABELLED)
    assert plain.report.verdict is Verdict.AFFIRMING
    asked = plain.again(second_opinion=True)
    assert_both_are_named(asked, "verifies it", "refuses it (certification data of type 7")


def test_a_second_verifier_that_accepts_what_the_first_refuses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forged = audit(Knobs(edit_quote=forge.flipped(forge.SIGNATURE)))
    assert [item.status for item in forged.check("hardware.quote")] == [Status.FAIL]
    monkeypatch.setattr(agreement, "judge_quote", lambda *_: Judgement(status="UpToDate"))
    assert_both_are_named(forged.again(second_opinion=True), "refuses it (", "verifies it")


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"status": "OutOfDate"}, "status: "),
        ({"parts": ()}, "parts: "),
        ({"date": 1}, "TCB dates: "),
        ({"advisories": frozenset({"INTEL-SA-1"})}, "advisories: "),
        ({"merged_advisories": frozenset({"INTEL-SA-1"})}, "merged advisories: "),
        ({"evaluation": 1}, "evaluation number: "),
        ({"fmspc": bytes(6)}, "FMSPC: "),
        ({"ppid": bytes(16)}, "PPID: "),
        ({"issued": 1}, "collateral issued: "),
        ({"expires": 1}, "collateral expires: "),
    ],
)
def test_a_second_verifier_that_says_another_value(
    honest: Audited, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], word: str
) -> None:
    monkeypatch.setattr(
        agreement, "judge_quote", lambda *given: replaced(judge_quote(*given), **changes)
    )
    assert_both_are_named(honest.again(second_opinion=True), word)


def test_worlds_of_every_status_are_judged_alike() -> None:
    for asked in simulated():
        assert not list(differences(*opinions(asked)))


@pytest.mark.parametrize(
    ("versions", "status", "merged"),
    [
        ((OLD, NEW), "UpToDate", "TDRelaunchAdvised"),
        ((OLD, NEW), "ConfigurationNeeded", "TDRelaunchAdvisedConfigurationNeeded"),
        ((OLD, OLD), "UpToDate", "OutOfDate"),
        ((NEW, OLD), "UpToDate", "UpToDate"),
        ((NEW, NEW), "SWHardeningNeeded", "SWHardeningNeeded"),
    ],
)
def test_a_module_that_was_updated_under_a_running_td(
    versions: tuple[bytes, bytes], status: str, merged: str
) -> None:
    launch, current = versions
    edit = forge.td(tee_tcb_svn=launch, tee_tcb_svn2=current)
    knobs = Knobs(quote_format="v5-td15", edit_td=edit, tcb_status=status)
    first, judged = opinions(of_world(knobs))
    assert judged.status == merged
    assert not list(differences(first, judged))


@pytest.mark.parametrize(
    ("knobs", "reason"),
    [
        (Knobs(edit_td=forge.td(td_attributes=SEPT_VE_DISABLE | 1)), "allows debugging"),
        (Knobs(edit_td=forge.td(td_attributes=0)), "SEPT_VE_DISABLE"),
        (Knobs(edit_td=forge.td(mr_signer_seam=b"\1" * 48)), "signed by another"),
        (Knobs(edit_td=forge.td(seam_attributes=b"\1" + bytes(7))), "has attributes"),
        (
            Knobs(quote_format="v5-td15", edit_td=forge.td(mr_service_td=b"\1" * 48)),
            "a service TD is bound",
        ),
        (Knobs(revoked=frozenset({"pck"})), "is revoked"),
        (Knobs(revoked=frozenset({"platform-ca"})), "is revoked"),
        (Knobs(revoked=frozenset({"tcb-signing"})), "is revoked"),
        (Knobs(expired=frozenset({"pck"})), "is not in force"),
        (Knobs(rogue=frozenset({"pck"})), "is not issued by"),
        (Knobs(rogue=frozenset({"platform-ca"})), "is not issued by"),
        (Knobs(rogue=frozenset({"tcb-signing"})), "is not issued by"),
        (Knobs(rogue=frozenset({"pck-crl"})), "the signature does not hold"),
        (Knobs(rogue=frozenset({"root-ca-crl"})), "the signature does not hold"),
        (Knobs(collateral_age=31 * DAY), "is not in force"),
        (Knobs(collateral_pce_id="0001"), "another PCE"),
        (Knobs(collateral_fmspc=bytes.fromhex("00a06d080000")), "another family"),
        (Knobs(tcb_status="Revoked"), "TCB is revoked"),
        (Knobs(module_status="Revoked"), "TCB is revoked"),
        (Knobs(qe_status="Revoked"), "TCB is revoked"),
        (Knobs(tcb_signer="pck"), "is not issued by"),
    ],
)
def test_the_second_verifier_refuses_alone(knobs: Knobs, reason: str) -> None:
    _, judged = opinions(of_world(knobs))
    assert reason in judged.failure
    assert judged.revoked == ("TCB is revoked" in reason)


def test_each_attribute_of_a_td_is_judged_alike() -> None:
    """Bits that the TDX Module ABI reserves, and those by which somebody outside reaches in, are
    refused; what the others mean, neither verifier of quotes judges."""
    taken = set[int]()
    for bit in range(64):
        edit = forge.td(td_attributes=SEPT_VE_DISABLE | 1 << bit)
        first, judged = opinions(of_world(Knobs(edit_td=edit)))
        assert not list(differences(first, judged)), bit
        taken |= set() if judged.failure else {bit}
    assert taken == {16, *range(18, 23), 27, 28, 30, 31, 62, 63}


def relabelled(asked: Asked, edit: Callable[[bytes], bytes]) -> Asked:
    parts = taken_apart(asked.quote)
    parts.chain = edit(parts.chain)
    assert asked.world is not None
    parts.sign(asked.world)
    return Asked(parts.joined(), asked.members, asked.root, asked.at)


def test_a_quote_that_was_taken_apart_and_signed_again_is_the_same() -> None:
    for asked in simulated():
        assert relabelled(asked, lambda chain: chain).quote == asked.quote


def test_what_is_changed_is_judged_alike_or_differs_as_is_known() -> None:
    found = over_changed([list(simulated())], 0, seed=7, size=200)
    assert not found["unexplained"]
    assert found["outcomes"]["accepts/accepts"] > 20
    assert found["outcomes"]["refuses/refuses"] > 100


@needs_recorded
@pytest.mark.filterwarnings("ignore:Parsed a serial number:UserWarning")
def test_every_recorded_quote_is_judged_alike() -> None:
    asked = real()
    assert len({item.quote for item in asked}) > 10
    assert not [words for item in asked for words in differences(*opinions(item))]
