"""Of several quotes of one attester, which an audit rests on."""

from itertools import pairwise
from types import SimpleNamespace
from typing import Any, Final, cast

import pytest
from msgspec import Struct
from msgspec.structs import replace

from verifier.checks import presented
from verifier.checks.case import Case
from verifier.checks.presented import choose_quote, most_proven
from verifier.errors import Blocked, EvidenceError, MissingEvidence
from verifier.evidence.bundle import BundleBuilder, Kind
from verifier.evidence.subject import (
    CHANNEL_APP_CERT,
    CHANNEL_ENDPOINT,
    CHANNEL_GET_QUOTE,
    PresentedQuote,
)
from verifier.evidence.td.ra_tls import RaTlsChain
from verifier.model.result import EvidenceRef

CHAIN: Final = RaTlsChain((), ())


class Shown(Struct, frozen=True, kw_only=True):
    """A quote, and what is found about it: nothing that speaks against it."""

    quote: str = "m"
    channel: str = CHANNEL_APP_CERT
    refused: str | Exception = ""
    misfits: tuple[bool, ...] = (False, False)
    foreign_key: bool = False
    problems: tuple[str, ...] | Exception = ()
    status: str = "UpToDate"
    dates: tuple[int, ...] = (20, 30)
    peer: str = "peer"
    exporter: str = "exporter"
    log: str | None = None

    def source(self) -> PresentedQuote:
        """As it was presented."""
        return PresentedQuote(
            channel=self.channel,
            quote=self.quote.encode(),
            evidence=EvidenceRef("00" * 32),
            certificate_chain=CHAIN if self.channel == CHANNEL_APP_CERT else None,
            peer=self.peer,
            exporter=self.exporter,
            log=self.log,
        )


class _Resting:
    """What a case that rests on a quote says of it."""

    def __init__(self, shown: Shown, source: PresentedQuote) -> None:
        self.shown, self.presented, self.misfits = shown, source, shown.misfits

    @property
    def dcap(self) -> Any:
        if isinstance(self.shown.refused, Exception):
            raise self.shown.refused
        return SimpleNamespace(
            failure=self.shown.refused,
            worst_status=self.shown.status,
            level_dates=tuple(("", date) for date in self.shown.dates),
        )


@pytest.fixture
def best(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Which of several quotes is chosen, by its place among them."""

    def problems_of(case: Any, _source: object) -> tuple[str, ...]:
        found: tuple[str, ...] | Exception = case.shown.problems
        if isinstance(found, Exception):
            raise found
        return found

    def chosen(*several: Shown) -> int:
        sources = [item.source() for item in several]
        by_source = dict(zip(map(id, sources), several, strict=True))

        def resting_on(source: PresentedQuote) -> Any:
            return _Resting(by_source[id(source)], source)

        def is_of_leaf(source: PresentedQuote) -> bool:
            return not by_source[id(source)].foreign_key

        monkeypatch.setattr(presented, "problems_of", problems_of)
        monkeypatch.setattr(presented, "is_of_leaf", is_of_leaf)
        case = cast("Case", SimpleNamespace(resting_on=resting_on))
        found = most_proven(case, sources)
        return [id(item) for item in sources].index(id(found))

    return chosen


WORSE: Final = (
    Shown(quote="z"),
    Shown(quote="z", exporter=""),
    Shown(quote="z", exporter="", peer=""),
    Shown(quote="y", dates=(19, 40)),
    Shown(quote="x", dates=()),
    Shown(quote="w", status="OutOfDate", dates=(50,)),
    Shown(quote="v", status="SWHardeningNeeded", dates=(40,)),
    Shown(quote="u", misfits=(False, True), dates=(60,)),
    Shown(quote="t", problems=("it is another's",), dates=(60,)),
    Shown(quote="s", foreign_key=True, dates=(60,)),
    Shown(quote="r", foreign_key=True, problems=("it is another's",), dates=(60,)),
    Shown(quote="q", channel=CHANNEL_GET_QUOTE, dates=(60,)),
    Shown(quote="p", misfits=(True, False), dates=(60,)),
    Shown(quote="o", refused="the signature does not hold", dates=(60,)),
)
"""Each of them proves less than the one before, though it may be better in all that counts less."""


@pytest.mark.parametrize(("better", "worse"), [*pairwise(WORSE)])
def test_what_a_quote_proves_decides(best: Any, better: Shown, worse: Shown) -> None:
    assert best(better, worse) == 0
    assert best(worse, better) == 1
    assert best(worse, worse, better) == 2


def test_of_two_that_prove_as_much_what_was_signed_decides(best: Any) -> None:
    for one, other in ((Shown(quote="a"), Shown()), (Shown(quote="a", dates=(20, 21)), Shown())):
        assert best(one, other) == 0
        assert best(other, one) == 1


@pytest.mark.parametrize("what", [EvidenceError("x"), MissingEvidence("x"), Blocked("x")])
def test_a_certificate_that_cannot_be_judged_is_the_worst(best: Any, what: Exception) -> None:
    unread = Shown(quote="a", problems=what)
    for other in (
        Shown(quote="b", problems=("it is another's",)),
        Shown(quote="b", foreign_key=True),
    ):
        assert best(unread, other) == 1
        assert best(other, unread) == 0


@pytest.mark.parametrize("what", ["no", EvidenceError("x"), MissingEvidence("x")])
def test_of_two_that_do_not_verify_neither_is_better_for_its_tcb(
    best: Any, what: str | Exception
) -> None:
    unverified = Shown(quote="b", refused=what, dates=(60,))
    for other in (Shown(quote="a", refused="no"), Shown(quote="a", refused=EvidenceError("x"))):
        assert best(unverified, other) == 1
        assert best(other, unverified) == 0
    assert best(unverified, Shown(quote="c", misfits=(True, True))) == 1


@pytest.mark.parametrize(
    "changes",
    [{"exporter": ""}, {"peer": "other"}, {"log": "another"}, {"channel": CHANNEL_GET_QUOTE}],
)
def test_one_quote_that_came_otherwise_is_looked_at_again(
    best: Any, changes: dict[str, str]
) -> None:
    """What came with it may say more, or less."""
    first = Shown(misfits=(True, True), exporter="x", peer="x")
    again = replace(first, **changes, misfits=(False, False))
    assert best(first, again) == 1
    assert best(again, first) == 0
    assert best(first, replace(first, misfits=(False, False))) == 0


def source(channel: str, name: str) -> PresentedQuote:
    return PresentedQuote(channel=channel, quote=name.encode(), evidence=EvidenceRef("00" * 32))


def test_the_quote_of_the_address_that_users_connect_to_counts_before_others() -> None:
    own, met = source(CHANNEL_APP_CERT, "own"), source(CHANNEL_ENDPOINT, "met")
    other = source(CHANNEL_ENDPOINT, "other")

    def chosen(address: str | None) -> PresentedQuote:
        endpoint = None if address is None else SimpleNamespace(source=address)
        question = SimpleNamespace(challenge=b"", binds=(), endpoint=endpoint)
        evidence = SimpleNamespace(
            quotes=[own, other, met],
            quotes_met_at=lambda asked: [met] if asked == "users.example" else [],
        )
        return choose_quote(cast("Case", SimpleNamespace(question=question, evidence=evidence)))

    assert chosen("users.example") is met
    assert chosen("another.example") is own
    assert chosen(None) is own


@pytest.mark.parametrize(
    ("challenge", "named", "quotes", "chosen"),
    [
        ("", (), ("own", "c"), "own"),
        ("c", (), ("own", "c"), "c"),
        ("c", (), ("own", "other"), "own"),
        ("", ("n",), ("own", "n"), "n"),
        ("", ("",), ("own", "n"), "own"),
        ("c", ("n",), ("own", "c", "n"), "n"),
        ("c", ("n", "nc"), ("own", "c", "n", "nc"), "nc"),
        ("c", (), ("malformed", "c"), "c"),
    ],
)
def test_what_was_asked_for_counts_before_the_way_by_which_a_quote_came(
    monkeypatch: pytest.MonkeyPatch,
    challenge: str,
    named: tuple[str, ...],
    quotes: tuple[str, ...],
    chosen: str,
) -> None:
    """Here a quote's bytes are its report data."""

    def parse_quote(raw: bytes, what: str) -> Any:
        if raw == b"malformed":
            raise EvidenceError(what)
        return SimpleNamespace(report_data=raw.decode())

    monkeypatch.setattr(presented, "parse_quote", parse_quote)
    first, *others = quotes
    sources = [source(CHANNEL_APP_CERT, first)]
    sources += [source(CHANNEL_GET_QUOTE, other) for other in others]
    binds = tuple(SimpleNamespace(report_data=name) for name in named)
    case = SimpleNamespace(
        question=SimpleNamespace(challenge=challenge, binds=binds, endpoint=None),
        evidence=SimpleNamespace(quotes=sources),
        named_by=lambda told: next((item for item in binds if item.report_data == told), None),
        is_answer=lambda told: bool(challenge) and told.endswith(challenge),
    )
    assert choose_quote(cast("Case", case)).quote.decode() == chosen


@pytest.mark.parametrize(
    ("answers", "pages"),
    [
        ([b"<html>"], True),
        ([b" \n<!doctype html>"], True),
        ([b"<html>", b"<p>"], True),
        ([b"<html>", b"{}"], False),
        ([b"{}"], False),
        ([b""], False),
        ([], False),
    ],
)
def test_markup_in_the_place_of_json_is_said_to_be_pages(
    answers: list[bytes], *, pages: bool
) -> None:
    builder = BundleBuilder()
    for place, raw in enumerate(answers):
        builder.add(Kind.INFO, raw, source=f"https://{place}.example", collected_at=1)
    if answers:
        builder.add_failure(Kind.INFO, source="https://x", collected_at=1, error="no", status=None)
    evidence = SimpleNamespace(
        bundle=builder.build(),
        quotes=(),
        platforms=(),
        name="",
        malformed=(),
        artifacts=lambda _: (),
    )
    question = SimpleNamespace(instances=())
    with pytest.raises(MissingEvidence) as raised:
        choose_quote(cast("Case", SimpleNamespace(question=question, evidence=evidence)))
    assert ("web pages" in raised.value.message) is pages
    assert not pages or "https://0.example" in raised.value.message
