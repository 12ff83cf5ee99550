"""What two verifiers of a quote have to say alike, and what an audit says where they do not."""

from typing import Any, Final

import pytest
from msgspec.structs import replace

from tests.worlds.audited import audit
from verifier.checks import agreement
from verifier.checks.agreement import differences, need_agreement, quote_opinion
from verifier.checks.dcap import DcapResult
from verifier.checks.second_opinion.judge import Judgement
from verifier.errors import EvidenceError
from verifier.evidence.chain.json_rpc import Exchanges
from verifier.lab.knobs import Knobs

FIRST: Final = DcapResult(
    failure="",
    tcb_status="UpToDate",
    component_statuses=(("quoting enclave", "OutOfDate"),),
    level_dates=(("", 5), ("quoting enclave", 6)),
    advisory_ids=("b", "a", "b"),
    merged_advisories=("a",),
    evaluation_number=20,
    fmspc=bytes([1] * 6),
    ppid=bytes([2] * 16),
    issued=7,
    expires=8,
)
SECOND: Final = Judgement(
    status="UpToDate",
    parts=(("quoting enclave", "OutOfDate", 6),),
    date=5,
    advisories=frozenset("ab"),
    merged_advisories=frozenset("a"),
    evaluation=20,
    fmspc=bytes([1] * 6),
    ppid=bytes([2] * 16),
    issued=7,
    expires=8,
)


def test_two_that_say_the_same_agree() -> None:
    assert not [*differences(FIRST, SECOND)]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"status": "OutOfDate"}, ["status"]),
        ({"parts": (("quoting enclave", "UpToDate", 6),)}, ["parts"]),
        ({"parts": (("quoting enclave", "OutOfDate", 7),)}, ["TCB dates"]),
        ({"parts": ()}, ["parts", "TCB dates"]),
        ({"date": 6}, ["TCB dates"]),
        ({"advisories": frozenset("a")}, ["advisories"]),
        ({"merged_advisories": frozenset("ab")}, ["merged advisories"]),
        ({"evaluation": 21}, ["evaluation number"]),
        ({"fmspc": bytes(6)}, ["FMSPC"]),
        ({"ppid": bytes(16)}, ["PPID"]),
        ({"issued": 8}, ["collateral issued"]),
        ({"expires": 9}, ["collateral expires"]),
        ({"failure": "no"}, ["the quote"]),
    ],
)
def test_whatever_one_says_otherwise_is_named(changes: dict[str, Any], named: list[str]) -> None:
    found = [*differences(FIRST, replace(SECOND, **changes))]
    assert [text.partition(":")[0] for text in found] == named
    assert all("dcap_qvl" in text and "own verifier" in text for text in found)


def test_why_two_refuse_a_quote_is_not_compared() -> None:
    ours, theirs = replace(FIRST, failure="one"), replace(SECOND, failure="two", status="other")
    assert not [*differences(ours, theirs)]
    (alone,) = differences(ours, SECOND)
    assert "refuses it (one)" in alone
    assert alone.endswith("verifies it")


def test_a_quote_on_which_they_differ_is_counted_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    exchanges = Exchanges(audit(Knobs()).bundle)
    monkeypatch.setattr(agreement, "judge_quote", lambda *_: SECOND)
    need_agreement(b"one", {}, b"", 0, FIRST, exchanges)
    assert quote_opinion(exchanges).quotes == 1
    assert quote_opinion(exchanges).disagreements == ()
    every = {"status": "", "parts": (), "fmspc": b"", "ppid": b""}
    monkeypatch.setattr(agreement, "judge_quote", lambda *_: replace(SECOND, **every))
    with pytest.raises(EvidenceError) as raised:
        need_agreement(b"two", {}, b"", 0, FIRST, exchanges)
    shown = [text.strip().partition(": ")[0] for text in raised.value.message.split("; ")]
    assert [text.rpartition(": ")[2] for text in shown] == [
        "two verifiers disagree about the quote",
        "parts",
        "TCB dates",
    ]
    found = quote_opinion(exchanges)
    assert (found.quotes, len(found.disagreements)) == (1, 1)
    assert "PPID: " in found.disagreements[0]
