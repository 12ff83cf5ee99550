"""What is taken from the library that verifies quotes, and in which words it refuses one."""

from typing import Any

import dcap_qvl
import pytest

from tests.worlds.audited import Audited, audit
from verifier.checks import dcap
from verifier.checks.case import Case
from verifier.checks.dcap import DcapResult, _dated, _result, certified_since, verify_quote
from verifier.evidence.chain.json_rpc import Exchanges
from verifier.evidence.subject import read_subject
from verifier.lab import forgeries as forge
from verifier.lab.knobs import DAY, Knobs

FIRST = "2025-01-01T00:00:00Z"
SECONDS = 1735689600


@pytest.fixture(scope="module")
def honest() -> Audited:
    return audit(Knobs())


def judged(audited: Audited, at: int | None = None) -> DcapResult:
    """What comes of the quote at a time, with what endorses it."""
    subject = read_subject(audited.bundle, audited.bundle.subjects[0])
    case = Case(subject, audited.question, Exchanges(audited.bundle))
    quote, members = case.quote.raw, case.collateral.members
    return verify_quote(quote, members, case.reference.root, at or audited.world.now)


@pytest.mark.parametrize(
    ("status", "others", "worst"),
    [
        ("UpToDate", (), "UpToDate"),
        ("UpToDate", ("UpToDate", "OutOfDate"), "OutOfDate"),
        ("SWHardeningNeeded", ("OutOfDate",), "SWHardeningNeeded"),
        ("UpToDate", ("ConfigurationNeeded", "OutOfDate"), "ConfigurationNeeded"),
    ],
)
def test_what_is_worst_of_the_platform_and_its_parts(
    status: str, others: tuple[str, ...], worst: str
) -> None:
    parts = tuple((f"part {place}", each) for place, each in enumerate(others))
    found = DcapResult(failure="", tcb_status=status, component_statuses=parts)
    assert found.worst_status == worst


def test_why_a_quote_is_refused_is_said_from_the_outside_in(honest: Audited) -> None:
    good = judged(honest)
    assert (good.failure, good.revoked) == ("", False)
    forged = audit(Knobs(edit_quote=forge.flipped(forge.SIGNATURE + 8)))
    said = judged(forged).failure
    assert said
    assert "Caused by" not in said
    assert "Verification failed" not in said
    late = judged(honest, honest.world.now + 400 * DAY)
    assert (late.failure != "", late.revoked) == (True, False)


def test_what_is_refused_is_so_whether_or_not_a_reason_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A failure without words would be none at all."""
    monkeypatch.setattr(dcap, "_reason", lambda *_: "")
    forged = audit(Knobs(edit_quote=forge.flipped(forge.SIGNATURE + 8)))
    assert judged(forged).failure.startswith("Verification failed")


@pytest.mark.parametrize(
    ("said", "failure"),
    [("one\ntwo", "one"), ("\n  one \n", "one"), ("", "ValueError"), (" \n", "ValueError")],
)
def test_an_error_that_says_nothing_is_a_failure(
    honest: Audited, monkeypatch: pytest.MonkeyPatch, said: str, failure: str
) -> None:
    def refuse(*_: object) -> None:
        raise ValueError(said)

    monkeypatch.setattr(dcap_qvl.QuotePolicy, "claims_only", refuse, raising=False)
    monkeypatch.setattr(dcap, "_reason", lambda *_: "")
    assert judged(honest).failure == failure


def test_a_quote_is_no_older_than_the_certificate_of_its_platform(honest: Audited) -> None:
    quote = honest.world.guest.quote(bytes(64))
    assert certified_since(quote) == honest.world.now - 365 * DAY


def test_that_a_platform_is_revoked_is_a_value() -> None:
    found = judged(audit(Knobs(tcb_status="Revoked")))
    assert (found.revoked, "Revoked" in found.failure) == (True, True)


def level(**changes: Any) -> dict[str, Any]:
    return {"tcbStatus": "UpToDate", "tcbDate": FIRST, "advisoryIDs": ["a"], **changes}


def claims(**changes: Any) -> dict[str, Any]:
    """What the library says of a quote, by the parts that are read."""
    found = {
        "platform": {
            "pck": {"fmspc": [1] * 6, "ppid": [2] * 16},
            "tcb_level": level(),
            "current_tcb_level": None,
        },
        "qe": {"tcb_level": level(tcbStatus="OutOfDate", advisoryIDs=["b", "a"])},
        "tcb": {"status": "UpToDate", "advisory_ids": ["a"], "eval_data_number": 20},
        "latest_issue_date": 5,
        "earliest_expiration_date": 7,
    }
    return {**found, **changes}


def test_parts_that_the_merged_status_leaves_out_are_kept_apart() -> None:
    found = _result(claims())
    assert (found.failure, found.tcb_status) == ("", "UpToDate")
    assert found.component_statuses == (("quoting enclave", "OutOfDate"),)
    assert found.worst_status == "OutOfDate"
    assert (found.advisory_ids, found.merged_advisories) == (("a", "b"), ("a",))
    assert found.level_dates == (("", SECONDS), ("quoting enclave", SECONDS))
    assert (found.fmspc, found.ppid) == (bytes([1] * 6), bytes([2] * 16))
    assert (found.issued, found.expires, found.evaluation_number) == (5, 7, 20)


@pytest.mark.parametrize("advisories", [[], None])
def test_a_part_without_advisories_has_none(advisories: list[str] | None) -> None:
    found = _result(claims(qe={"tcb_level": level(advisoryIDs=advisories)}))
    assert found.advisory_ids == ("a",)


def test_a_level_whose_date_nobody_can_read_has_none() -> None:
    levels = (("", level(tcbDate="soon")), ("one", None), ("two", level(tcbDate=FIRST)))
    assert [*_dated(levels)] == [("two", SECONDS)]
