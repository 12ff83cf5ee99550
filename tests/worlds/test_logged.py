"""Certificates that were logged for the endpoint's name: whose keys they are for, and what a search
of logs leaves out."""

import json
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from tests.worlds.audited import Audited, audit
from verifier.evidence.bundle import Kind
from verifier.evidence.certificate_log import MAX_CERTIFICATES
from verifier.lab.attacks.attack import BY_GATEWAY
from verifier.lab.knobs import Knobs
from verifier.lab.logged import CT_URL
from verifier.lab.response import NOT_FOUND, Response
from verifier.lab.world import DOMAIN, WEB_DOMAIN
from verifier.model.result import CheckResult, SkipKind, Status

CHECK = "endpoint.logged"


def result(audited: Audited) -> CheckResult:
    return audited.check(CHECK)[0]


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [
        (DOMAIN, "0 certificates in force"),
        (WEB_DOMAIN, "1 certificates in force"),
        (BY_GATEWAY, "2 certificates in force"),
    ],
)
def test_certificates_for_attested_keys(endpoint: str, words: str) -> None:
    found = result(audit(Knobs(), endpoint=endpoint))
    assert found.status is Status.PASS
    assert words in found.summary


def test_a_certificate_of_a_key_that_nothing_attests_is_named() -> None:
    found = result(audit(Knobs(logged=((DOMAIN, "somebody"),)), endpoint=DOMAIN))
    assert found.status is Status.WARN
    assert "CN=Lab Public CA certified another key, from 2026-05-16 on" in found.summary
    assert isinstance(found.actual, list)
    assert len(found.actual) == 1


def test_four_certificates_are_named_and_the_others_counted() -> None:
    for count, more in ((4, ""), (6, "; and 2 more")):
        logged = tuple((DOMAIN, f"somebody {place}") for place in range(count))
        found = result(audit(Knobs(logged=logged), endpoint=DOMAIN))
        assert found.summary.count("certified another key") == 4
        assert found.summary.endswith(f"from 2026-05-16 on{more}")
        assert isinstance(found.actual, list)
        assert len(found.actual) == count


def test_names_that_the_guest_ends_and_endpoints_of_which_nobody_asks(met: Audited) -> None:
    assert result(met).skip_kind is SkipKind.NOT_APPLICABLE
    unasked = audit(Knobs(), endpoint=DOMAIN).again(ct_searches=())
    assert result(unasked).skip_kind is SkipKind.NOT_APPLICABLE


def lacking(edit: Callable[[str, Response], Response]) -> CheckResult:
    def change(_method: str, url: str, _body: bytes, response: Response) -> Response:
        return edit(url, response) if url.startswith(CT_URL) else response

    return result(audit(Knobs(edit_response=change), endpoint=WEB_DOMAIN))


def _many(_url: str, response: Response) -> Response:
    rows = json.loads(response.body)
    more = [{**row, "serial_number": f"{n:x}", "id": n} for row in rows for n in range(99)]
    return replace(response, body=json.dumps([*rows, *more]).encode())


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda url, answer: NOT_FOUND if "q=" in url else answer, "does not tell every"),
        (lambda url, answer: NOT_FOUND if "d=" in url else answer, "shows no certificate for 1"),
        (lambda url, answer: replace(answer, body=b"no PEM") if "d=" in url else answer,
         "shows no certificate for 1"),
        (lambda url, answer: _many(url, answer) if "q=" in url else answer,
         f"{MAX_CERTIFICATES} were looked at"),
    ],
    ids=["no list", "no certificate", "no PEM", "too many"],
)  # fmt: skip
def test_what_a_search_leaves_out_is_missing(
    edit: Callable[[str, Response], Response], words: str
) -> None:
    found = lacking(edit)
    assert found.skip_kind is SkipKind.MISSING_EVIDENCE
    assert found.summary.startswith("ct.lab.invalid ")
    assert words in found.summary


def test_a_certificate_of_another_number_is_not_the_one_that_was_listed() -> None:
    """It would be for a key that is attested, in the place of one that is not."""
    audited = audit(Knobs(logged=((WEB_DOMAIN, "somebody"),)), endpoint=WEB_DOMAIN)
    assert result(audited).status is Status.WARN
    shown = {item.source[-1]: item for item in audited.bundle.of(Kind.CT_CERTIFICATE)}
    own = audited.bundle.blob(shown["3"])
    swapped = audited.editing(lambda item, raw: own if item.kind is Kind.CT_CERTIFICATE else raw)
    assert result(swapped).skip_kind is SkipKind.MISSING_EVIDENCE


def test_a_search_for_which_nobody_vouches_clears_nothing() -> None:
    found = result(audit(Knobs(), endpoint=DOMAIN).again(trusted=False))
    assert found.skip_kind is SkipKind.MISSING_EVIDENCE
