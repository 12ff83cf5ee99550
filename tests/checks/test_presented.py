"""Which of several quotes an audit rests on, by what each proves and how it came."""

from types import SimpleNamespace
from typing import cast

import pytest
from msgspec.structs import replace

from tests.worlds.audited import Audited, audit
from tests.worlds.test_collateral import first_case
from verifier.checks import presented
from verifier.checks.case import Case
from verifier.checks.presented import most_proven
from verifier.errors import Blocked, EvidenceError, MissingEvidence
from verifier.evidence.bundle import BundleBuilder, Kind
from verifier.evidence.subject import CHANNEL_ENDPOINT, PresentedQuote
from verifier.lab.attacks.attack import PASSED_THROUGH
from verifier.lab.knobs import Knobs
from verifier.lab.quote import make_quote
from verifier.model.result import SkipKind

OLD, NEW = (bytes([5, 1, version]) + bytes(13) for version in (2, 3))
"""Security versions of TDX modules, of which the first are out of date."""


@pytest.fixture(scope="module")
def world() -> Audited:
    return audit(Knobs(quote_format="v5-td15"))


def quoted(world: Audited, versions: bytes) -> bytes:
    report = replace(world.world.guest.td_report, tee_tcb_svn=versions, tee_tcb_svn2=versions)
    return make_quote(report, world.world.pki, world.world.knobs.platform, "v5-td15")


def best_of(case: Case, *sources: PresentedQuote) -> PresentedQuote:
    """The one that is chosen, in whichever order they came."""
    found = most_proven(case, sources)
    assert most_proven(case, sources[::-1]) == found
    return found


def test_a_quote_of_a_platform_that_is_up_to_date_proves_more(world: Audited) -> None:
    old, new = quoted(world, OLD), quoted(world, NEW)
    case = first_case(world.handing_over([(Kind.QUOTE, old), (Kind.QUOTE, new)]))
    sources = [item for item in case.evidence.quotes if item.quote in (old, new)]
    assert len(sources) == 2
    assert best_of(case, *sources).quote == new


@pytest.mark.parametrize("session", [{"exporter": "ab" * 32}, {"peer": "ab" * 32}])
def test_one_of_a_known_session_proves_more_than_the_same_without(
    world: Audited, session: dict[str, str]
) -> None:
    case = first_case(world)
    (without,) = (replace(item, peer="", exporter="") for item in case.evidence.quotes[:1])
    known = replace(without, **session)
    assert best_of(case, without, known) == known


@pytest.mark.parametrize("error", [EvidenceError, MissingEvidence, Blocked])
def test_a_certificate_that_cannot_be_judged_has_every_flaw(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(_: object) -> bool:
        raise error("no certificate")

    monkeypatch.setattr(presented, "is_of_leaf", unreadable)
    shown = SimpleNamespace(certificate_chain=())
    case = cast("Case", SimpleNamespace(presented=shown))
    assert presented._flaws(case) == (True, True)  # noqa: SLF001 - no quote of a world is so


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([b" <html>"], "gives web pages, and no evidence: https://portal.example/0"),
        ([b" <html>", b"{}"], "no TD quote was collected"),
        ([], "no TD quote was collected"),
    ],
    ids=["a page", "an answer beside it", "nothing"],
)
def test_a_web_page_in_the_place_of_a_guest_is_said(
    world: Audited, given: list[bytes], said: str
) -> None:
    builder = BundleBuilder()
    builder.add(Kind.PAGE, b"<html>", source="https://portal.example", collected_at=1)
    for place, raw in enumerate(given):
        source = f"https://portal.example/{place}"
        builder.add(Kind.INFO, raw, source=source, collected_at=1)
    (found,) = world.again(builder.build()).check("hardware.quote")
    assert found.skip_kind is SkipKind.MISSING_EVIDENCE
    assert said in found.summary


def test_the_quote_of_the_endpoint_is_the_one_that_was_asked_about() -> None:
    asked = audit(Knobs(), endpoint=PASSED_THROUGH)
    assert first_case(asked).presented.channel == CHANNEL_ENDPOINT
    elsewhere = asked.again(endpoint=None)
    assert first_case(elsewhere).presented.channel != CHANNEL_ENDPOINT
