"""Which of the quotes that name an endpoint's key is judged."""

import json
from typing import Any, Final, cast

import pytest
from msgspec.structs import replace

from tests.worlds.audited import Audited, audit
from verifier.checks.case import Case
from verifier.checks.endpoint import ingress
from verifier.checks.endpoint.ingress import Naming, judge_naming
from verifier.errors import EvidenceError, MissingEvidence
from verifier.evidence.ingress import NamedKey
from verifier.evidence.subject import PresentedQuote
from verifier.lab.knobs import Knobs
from verifier.lab.response import Response
from verifier.lab.world import WEB_DOMAIN, build
from verifier.model.result import CheckResult, EvidenceRef, SkipKind, Status

ACCOUNT: Final = "https://ca.invalid/1"


def naming(status: Status, check_id: str = "hardware.quote", account: str = ACCOUNT) -> Naming:
    result = CheckResult(id=check_id, title="", status=status, summary=status.value, reason="")
    return Naming(account, (result,), ())


Given = Naming | MissingEvidence | EvidenceError
GOOD: Final = naming(Status.WARN)
DOUBTED: Final = naming(Status.SKIP, "boot.machine")
FALSE: Final = naming(Status.FAIL)
UNPROVEN: Final = naming(Status.SKIP)
LACKING: Final = MissingEvidence("another manifest")
UNREAD: Final = EvidenceError("no log")


def judged(
    monkeypatch: pytest.MonkeyPatch, *given: Given, unread: tuple[EvidenceError, ...] = ()
) -> Naming | None:
    """What comes of several quotes that name one key."""

    def judge(_case: Case, found: NamedKey) -> Naming:
        item = given[found.source.quote[0]]
        if isinstance(item, Naming):
            return item
        raise item

    named = [
        NamedKey(
            PresentedQuote(channel="", quote=bytes([place]), evidence=EvidenceRef("")),
            item.account if isinstance(item, Naming) else "",
            (),
        )
        for place, item in enumerate(given)
    ]
    monkeypatch.setattr(ingress, "_judged", judge)
    monkeypatch.setattr(ingress, "named_keys", lambda _bundle, _key: (named, [*unread]))
    evidence: Any = type("Evidence", (), {"bundle": None})
    return judge_naming(cast("Case", type("Case", (), {"evidence": evidence})), b"")


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ((GOOD,), Status.WARN),
        ((GOOD, UNPROVEN), Status.WARN),
        ((GOOD, LACKING), Status.WARN),
        ((GOOD, FALSE), Status.FAIL),
        ((DOUBTED, FALSE), Status.FAIL),
        ((UNPROVEN, FALSE), Status.FAIL),
        ((LACKING, FALSE), Status.FAIL),
        ((UNREAD, FALSE), Status.FAIL),
        ((UNPROVEN,), Status.SKIP),
        ((DOUBTED, UNPROVEN), Status.SKIP),
    ],
)
def test_what_is_worst_of_several_quotes_counts(
    monkeypatch: pytest.MonkeyPatch, given: tuple[Given, ...], status: Status
) -> None:
    for order in (given, given[::-1]):
        found = judged(monkeypatch, *order)
        assert found is not None
        assert [item.status for item in found.results] == [status]
        assert found.accounts == (ACCOUNT,)
        holds = found.results in (GOOD.results, DOUBTED.results)
        assert bool(found.doubts) is (holds and len(given) > 1)


def test_of_equal_ones_that_counts_which_names_an_account(monkeypatch: pytest.MonkeyPatch) -> None:
    for others in ((GOOD, replace(GOOD, account="")), (replace(GOOD, account=""), GOOD)):
        found = judged(monkeypatch, *others)
        assert found is not None
        assert found.account == ACCOUNT


def test_nobody_names_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    assert judged(monkeypatch) is None


def test_every_account_that_is_named_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    others = [replace(GOOD, account=account) for account in ("", "https://ca.invalid/2", ACCOUNT)]
    found = judged(monkeypatch, *others)
    assert found is not None
    assert found.accounts == (ACCOUNT, "https://ca.invalid/2")


@pytest.mark.parametrize("given", [(LACKING,), (LACKING, UNPROVEN)])
def test_what_is_lacking_of_one_is_missing(
    monkeypatch: pytest.MonkeyPatch, given: tuple[Given, ...]
) -> None:
    for order in (given, given[::-1]):
        with pytest.raises(MissingEvidence, match="another manifest"):
            judged(monkeypatch, *order)


@pytest.mark.parametrize("given", [(UNREAD,), (UNREAD, GOOD), (UNREAD, LACKING)])
def test_what_cannot_be_read_is_an_error_beside_all_that_is_not_false(
    monkeypatch: pytest.MonkeyPatch, given: tuple[Given, ...]
) -> None:
    for order in (given, given[::-1]):
        with pytest.raises(EvidenceError, match="no log"):
            judged(monkeypatch, *order)


def test_a_file_that_cannot_be_read_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EvidenceError, match="no log"):
        judged(monkeypatch, GOOD, unread=(UNREAD,))
    found = judged(monkeypatch, FALSE, unread=(UNREAD,))
    assert found is not None
    assert found.failed


def shown(edit: dict[str, Any]) -> Audited:
    """A world in which the quote of dstack-ingress is shown with these changes."""

    def change(_method: str, url: str, _body: bytes, response: Response) -> Response:
        if not url.endswith("/evidences/quote.json"):
            return response
        return replace(response, body=json.dumps({**json.loads(response.body), **edit}).encode())

    return audit(Knobs(edit_response=change), endpoint=WEB_DOMAIN)


def test_a_guest_of_another_manifest_names_no_key() -> None:
    other = build(Knobs(app_name="another version")).guest

    def change(_method: str, url: str, _body: bytes, response: Response) -> Response:
        if not url.endswith("/evidences/quote.json"):
            return response
        named = bytes.fromhex(json.loads(response.body)["report_data"])
        return replace(response, body=json.dumps(other.get_quote(named)).encode())

    (result,) = audit(Knobs(edit_response=change), endpoint=WEB_DOMAIN).check("endpoint.tls")
    assert result.skip_kind is SkipKind.MISSING_EVIDENCE
    assert "runs another manifest" in result.summary


def test_a_guest_that_shows_too_little_names_no_account() -> None:
    """A log without boot events, and no machine that anybody states: which it is nobody can say."""
    honest = shown({})
    assert honest.check("endpoint.domain")[0].status is Status.WARN
    unproven = honest.again(reference=replace(honest.question.reference, os_images=()))
    for check_id in ("endpoint.tls", "endpoint.domain"):
        (result,) = unproven.check(check_id)
        assert result.skip_kind is SkipKind.MISSING_EVIDENCE
        assert "boot.image" in result.summary
